import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

/** Follows a stream with okhttp-sse: {@code FollowOkHttp URL}. */
class FollowOkHttp {
    public static void main(String[] arguments) {
        // OkHttp gives up after 10 s without a byte; the server sends a heartbeat every 15 s.
        var client = new OkHttpClient.Builder().readTimeout(0, TimeUnit.SECONDS).build();
        var request = new Request.Builder().url(arguments[0]).build();
        EventSources.createFactory(client).newEventSource(request, new EventSourceListener() {
            @Override public void onEvent(EventSource source, String id, String type, String data) {
                Line.show(type, id, data);
            }

            @Override public void onClosed(EventSource source) {
                System.out.println("onClosed");
                System.exit(0);
            }

            @Override public void onFailure(EventSource source, Throwable error, Response response) {
                System.out.println("onFailure: " + error);
                System.exit(1);
            }
        });
    }
}
