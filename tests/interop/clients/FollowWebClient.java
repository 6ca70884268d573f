import java.time.Duration;
import org.springframework.core.ParameterizedTypeReference;
import org.springframework.http.MediaType;
import org.springframework.http.codec.ServerSentEvent;
import org.springframework.web.reactive.function.client.WebClient;
import reactor.core.publisher.Flux;
import reactor.util.retry.Retry;

/** Follows a stream with Spring's WebClient over Reactor Netty: {@code FollowWebClient URL [again]}. */
class FollowWebClient {
    private static String last;

    public static void main(String[] arguments) {
        var client = WebClient.create(arguments[0]);
        var type = new ParameterizedTypeReference<ServerSentEvent<String>>() {};
        // A repeated Flux sends the same request again; a deferred one builds a new request, with the last id.
        var events = Flux.defer(() -> {
            var request = client.get().accept(MediaType.TEXT_EVENT_STREAM);
            if (last != null) request.header("Last-Event-ID", last);
            return request.retrieve().bodyToFlux(type);
        });
        if (arguments.length > 1) {
            var pause = Duration.ofSeconds(3);
            events = events.repeatWhen(ends -> ends.delayElements(pause))
                    .retryWhen(Retry.fixedDelay(Long.MAX_VALUE, pause));
        }
        try {
            events.doOnNext(event -> {
                if (event.id() != null) last = event.id();
                Line.show(event.event(), event.id(), event.data());
            }).blockLast();
        } catch (RuntimeException error) {
            System.out.println(error);
            System.exit(1);
        }
    }
}
