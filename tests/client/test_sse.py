"""Both clients with any server's event streams: the cases of LaunchDarkly's contract tests, and more."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
from typing import Any

import httpx
import pytest

from roomcast.client.sse import Comment, Endless, Event, Refused
from tests.client.conftest import Listen
from tests.client.scripted import END, EventRecorder, ScriptedServer
from tests.running import wait_for


def event(data: str, id: str = "", type: str = "message") -> Event:
    return Event(type, data, id)


# Reading.


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_line_ends_of_all_kinds_split_over_chunks(
    listen: Listen, scripted: ScriptedServer, end: str, size: int
) -> None:
    recorder = listen()
    stream = f"data: 1{end}{end}data: 2{end}data:{end}data: 3{end}{end}{end}{end}data: 4{end}{end}"
    scripted.next().begin().send(*(stream[n : n + size] for n in range(0, len(stream), size)))
    assert [recorder.next() for _ in range(3)] == [event("1"), event("2\n\n3"), event("4")]


def test_a_crlf_split_over_two_chunks_is_one_line_end(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen()
    scripted.next().begin().send("data: Hello\r", "\ndata: World\r", "\n\r\ndata: OK\r", "\n", "\r", "\n")
    assert [recorder.next(), recorder.next()] == [event("Hello\nWorld"), event("OK")]


@pytest.mark.parametrize("pieces", [[b"\xef\xbb\xbf"], [b"\xef\xbb", b"\xbf"], [b"\xef", b"\xbb", b"\xbf"]])
def test_a_byte_order_mark_is_skipped_once(listen: Listen, scripted: ScriptedServer, pieces: list[bytes]) -> None:
    recorder = listen()
    scripted.next().begin().send(*pieces, "data: \ufeffa\n\ndata: \ufeffb\n\n")
    assert [recorder.next(), recorder.next()] == [event("\ufeffa"), event("\ufeffb")]


def test_comments_come_in_order_and_at_once(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen(comments=True)
    stream = scripted.next().begin()
    stream.send(":Hello\n")
    assert recorder.next() == Comment("Hello")
    stream.send(": World\ndata: x\n\n", ":\n")
    assert [recorder.next() for _ in range(3)] == [Comment(" World"), event("x"), Comment("")]


def test_comments_are_skipped_by_default(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen()
    scripted.next().begin().send(": a\n", "data: x\n\n")
    assert recorder.next() == event("x")


def test_null_ids_are_ignored_empty_ones_reset_and_others_persist(
    listen: Listen, scripted: ScriptedServer
) -> None:
    recorder = listen()
    blocks = ["id: a\ndata: 1\n\n", "data: 2\n\n", "id: b\0c\ndata: 3\n\n", "id:\ndata: 4\n\n", "data: 5\n\n"]
    scripted.next().begin().send(*blocks)
    heard = [recorder.next() for _ in blocks]
    assert [one.id for one in heard] == ["a", "a", "a", "", ""]


def test_unknown_fields_are_ignored(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen()
    scripted.next().begin().send("event: greeting\ncolor: blue\ndata: Hello\nblue\n\n")
    assert recorder.next() == event("Hello", type="greeting")


def test_utf_8_may_come_in_single_bytes(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen()
    scripted.next().begin().send(*(bytes([byte]) for byte in "data: €豆腐😀\n\n".encode()))
    assert recorder.next() == event("€豆腐😀")


@pytest.mark.parametrize("size", [1023, 4096, 8192, 65_536, 1_048_576])
def test_events_of_all_sizes_arrive_at_once(listen: Listen, scripted: ScriptedServer, size: int) -> None:
    recorder = listen()
    scripted.next().begin().send("data: " + "x" * size + "\n\n")
    assert recorder.next() == event("x" * size)


def test_many_events_at_once_stay_in_order(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen()
    scripted.next().begin().send("".join(f"data: {n}\n\n" for n in range(1000)))
    assert [recorder.next().data for _ in range(1000)] == [str(n) for n in range(1000)]


def test_an_endless_line_ends_the_stream_with_an_error(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen(max_block=1000)
    stream = scripted.next().begin()
    stream.send("data: x\n\n", "data: " + "x" * 1000)
    assert recorder.next() == event("x")
    assert isinstance(recorder.next(), Endless)
    stream.wait_until_the_client_is_gone()


# Requests.


def test_the_default_request_has_the_headers_of_the_standard(listen: Listen, scripted: ScriptedServer) -> None:
    listen()
    asked = scripted.next()
    assert (asked.method, asked.target, asked.body) == ("GET", "/events", b"")
    assert asked.headers["accept"] == "text/event-stream"
    assert asked.headers["cache-control"] == "no-cache"
    assert asked.headers["accept-encoding"] == "identity"
    assert "last-event-id" not in asked.headers


@pytest.mark.parametrize("method", ["POST", "REPORT"])
def test_every_connection_has_the_callers_method_headers_and_body(
    listen: Listen, scripted: ScriptedServer, method: str
) -> None:
    body = json.dumps({"hello": "world"})
    headers = {"content-type": "application/json; charset=utf-8", "X-Name": "välue"}
    listen(method=method, body=body, headers=headers)
    for _ in range(2):
        asked = scripted.next()
        assert (asked.method, asked.body) == (method, body.encode())
        assert asked.headers["content-type"] == headers["content-type"]
        assert asked.headers["x-name"].encode("latin-1").decode() == "välue"
        asked.begin().cut()


def test_the_callers_headers_override_ours(listen: Listen, scripted: ScriptedServer) -> None:
    listen(headers={"ACCEPT": "text/event-stream, */*", "last-event-id": "x"}, last_event_id="y")
    asked = scripted.next()
    assert asked.headers["accept"] == "text/event-stream, */*"
    assert asked.headers["last-event-id"] == "x"


@pytest.mark.parametrize("awaited", [False, True])
def test_functions_for_headers_and_auth_are_called_for_each_connection(
    listen: Listen, scripted: ScriptedServer, kind: str, awaited: bool
) -> None:
    awaited = awaited and kind == "async"
    count = iter(range(10))

    async def later(value: Any) -> Any:
        return value

    def auth() -> Any:
        token = f"token-{next(count)}"
        return later(token) if awaited else token

    listen(auth=auth, headers=(lambda: later({"X": "1"})) if awaited else (lambda: {"X": "1"}))
    for n in range(3):
        asked = scripted.next()
        assert asked.headers["authorization"] == f"Bearer token-{n}"
        assert asked.headers["x"] == "1"
        asked.begin().cut()


def test_the_client_for_threads_refuses_a_coroutine_function(scripted: ScriptedServer) -> None:
    async def auth() -> str:
        raise AssertionError

    recorder = EventRecorder("sync", scripted.url, auth=auth)
    assert isinstance(error := recorder.next(), TypeError)
    assert "plain function" in str(error)


@pytest.mark.parametrize("auth", [("user", "pass"), httpx.BasicAuth("user", "pass")])
def test_auth_takes_a_pair_or_an_object_of_httpx(listen: Listen, scripted: ScriptedServer, auth: Any) -> None:
    listen(auth=auth)
    assert scripted.next().headers["authorization"] == "Basic dXNlcjpwYXNz"


def test_a_function_for_the_proxy_is_called_for_each_connection(listen: Listen, scripted: ScriptedServer) -> None:
    proxies = [ScriptedServer(), ScriptedServer()]
    ways = iter(proxies)
    try:
        recorder = listen("http://nowhere.invalid/x", proxy=lambda: next(ways).url.removesuffix("/events"))
        for proxy in proxies:
            asked = proxy.next()
            assert asked.target == "http://nowhere.invalid/x"
            stream = asked.begin()
            stream.send("data: x\n\n")
            assert recorder.next() == event("x")
            stream.cut()
    finally:
        for proxy in proxies:
            proxy.close()


# Redirects and final answers.


@pytest.mark.parametrize(
    "status",
    [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ],
)
def test_a_redirect_is_followed(listen: Listen, scripted: ScriptedServer, status: str) -> None:
    recorder = listen()
    scripted.next().answer(status, "Location: /there")
    asked = scripted.next()
    assert asked.target == "/there"
    asked.begin().send("data: hello\n\n")
    assert recorder.next() == event("hello")


def test_the_next_connection_starts_at_the_first_address_again(listen: Listen, scripted: ScriptedServer) -> None:
    listen()
    for _ in range(2):
        asked = scripted.next()
        assert asked.target == "/events"
        asked.answer("307 Temporary Redirect", "Location: /there")
        scripted.next().begin().cut()


def test_a_307_sends_the_body_again(listen: Listen, scripted: ScriptedServer) -> None:
    listen(method="POST", body="x", headers={"Content-Type": "text/plain"})
    scripted.next().answer("307 Temporary Redirect", "Location: /there")
    asked = scripted.next()
    assert (asked.method, asked.target, asked.body) == ("POST", "/there", b"x")


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
@pytest.mark.parametrize(
    "location", [[], ["Location:"], ["Location: http://"], ["Location: mailto:a@b.c"], ["Location: http://[::1"]]
)
def test_a_bad_location_raises_at_once(
    listen: Listen, scripted: ScriptedServer, status: str, location: list[str]
) -> None:
    recorder = listen()
    scripted.next().answer(status, *location)
    assert isinstance(error := recorder.next(), Refused), error
    assert error.answered == int(status[:3])
    assert scripted.is_quiet(0.1)


def test_redirects_in_a_circle_raise(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen()
    for _ in range(21):
        scripted.next().answer("307 Temporary Redirect", f"Location: {scripted.url}")
    assert isinstance(recorder.next(), Refused)
    assert scripted.is_quiet(0.1)


def test_a_204_ends_the_iteration_without_an_error(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen()
    scripted.next().begin().end("data: x\n\n")
    scripted.next().answer("204 No Content")
    assert [recorder.next(), recorder.next()] == [event("x"), END]
    assert scripted.is_quiet(0.1)


@pytest.mark.parametrize(
    "status",
    [
        "200 OK",
        "201 Created",
        "205 Reset Content",
        "210 Other",
        "299 Other",
        "300 Multiple Choices",
        "304 Not Modified",
        "400 Bad Request",
        "401 Unauthorized",
        "404 Not Found",
        "410 Gone",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ],
)
def test_an_answer_that_is_no_stream_is_final(listen: Listen, scripted: ScriptedServer, status: str) -> None:
    recorder = listen()
    content_type = "text/plain" if status == "200 OK" else "text/event-stream"
    body = b"" if status in ("205 Reset Content", "304 Not Modified") else b"data: no\n\n"  # they can have none
    scripted.next().answer(status, f"Content-Type: {content_type}", body=body)
    error = recorder.next()
    assert isinstance(error, Refused)
    assert error.answered == int(status[:3])
    assert status in str(error)
    assert scripted.is_quiet(0.1)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/event-stream;charset=utf-8",
        "text/event-stream; charset=windows-1251",
        "text/event-stream;",
        "Text/Event-Stream ; x=y",
    ],
)
def test_the_content_type_may_have_parameters_but_the_stream_is_utf_8(
    listen: Listen, scripted: ScriptedServer, content_type: str
) -> None:
    recorder = listen()
    scripted.next().begin(content_type).send("data: ok…\n\n")
    assert recorder.next() == event("ok…")


@pytest.mark.parametrize(
    "content_type", ["text/x-bogus", "text/event-streams", "text/event", "", "application/json"]
)
def test_another_content_type_is_no_stream(listen: Listen, scripted: ScriptedServer, content_type: str) -> None:
    recorder = listen()
    scripted.next().begin(content_type).end("data: no\n\n")
    assert isinstance(recorder.next(), Refused)
    assert scripted.is_quiet(0.1)


def test_error_statuses_are_final_unless_again_on_names_them(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen(again_on={502, 503}, retry=0.0, max_delay=0.05)
    scripted.next().answer("502 Bad Gateway")
    assert isinstance(recorder.next_pause().error, Refused)
    scripted.next().answer("503 Service Unavailable", "Retry-After: 3600")
    assert recorder.next_pause().seconds == 0.05
    scripted.next().answer("504 Gateway Timeout")
    assert isinstance(recorder.next(), Refused)


# Connecting again.


def test_the_next_connection_sends_the_last_id(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen()
    stream = scripted.next().begin()
    stream.send("id: ä€\ndata: 1\n\n", "data: 2\n\n")
    assert [recorder.next(), recorder.next()] == [event("1", "ä€"), event("2", "ä€")]
    stream.cut()
    asked = scripted.next()
    assert asked.headers["last-event-id"].encode("latin-1").decode() == "ä€"
    asked.begin().send("data: 3\n\n")
    assert recorder.next() == event("3", "ä€")


def test_the_first_connection_sends_the_callers_id(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen(last_event_id="abc")
    asked = scripted.next()
    assert asked.headers["last-event-id"] == "abc"
    asked.begin().send("data: x\n\n")
    assert recorder.next() == event("x", "abc")


def test_an_id_that_was_reset_is_not_sent(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen(last_event_id="abc")
    stream = scripted.next().begin()
    stream.send("id\ndata: x\n\n")
    assert recorder.next() == event("x")
    stream.cut()
    assert "last-event-id" not in scripted.next().headers


def test_a_partial_block_at_the_end_is_discarded_with_its_id(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen()
    stream = scripted.next().begin()
    stream.send("id: abc\ndata: Hello\n\nid: def\nevent: x\ndata: Goodbye\n")
    assert recorder.next() == event("Hello", "abc")
    stream.end()
    asked = scripted.next()
    assert asked.headers["last-event-id"] == "abc"
    asked.begin().send("data: We meet again\n\n")
    assert recorder.next() == event("We meet again", "abc")


def test_the_id_of_a_block_without_data_counts(listen: Listen, scripted: ScriptedServer) -> None:
    listen()
    scripted.next().begin().end("id: abc\n\n")
    assert scripted.next().headers["last-event-id"] == "abc"


def test_retry_sets_the_pause_and_a_malformed_one_is_ignored(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen(retry=60.0)
    stream = scripted.next().begin()
    stream.send("retry: 300\n", "retry: 1x\nretry:\n", "data: x\n\n")
    assert recorder.next() == event("x")
    began = time.monotonic()
    stream.end()
    assert recorder.next_pause() == (0.3, None, 0)
    scripted.next()
    assert time.monotonic() - began >= 0.3


def test_a_clean_end_differs_from_a_cut(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen(retry=0.01)
    scripted.next().begin().end()
    assert recorder.next_pause().error is None
    scripted.next().begin().cut()
    assert isinstance(recorder.next_pause().error, httpx.RemoteProtocolError)
    scripted.next().reset()
    assert isinstance(recorder.next_pause().error, httpx.TransportError)


def test_pauses_after_errors_grow_at_random_above_the_retry_delay(
    listen: Listen, scripted: ScriptedServer
) -> None:
    recorder = listen(retry=0.01, max_delay=1.0)
    pauses = []
    for _ in range(6):
        scripted.next().begin().cut()
        pauses.append(recorder.next_pause())
    assert [pause.failures for pause in pauses] == [1, 2, 3, 4, 5, 6]
    for n, pause in enumerate(pauses):
        assert 0.01 <= pause.seconds <= min(0.01 + 0.1 * 2**n, 1.0)
    assert len({pause.seconds for pause in pauses}) > 2
    stream = scripted.next().begin()
    stream.send("data: x\n\n")
    assert recorder.next() == event("x")
    stream.cut()
    assert recorder.next_pause().failures == 1


def test_an_unreachable_server_is_tried_again(listen: Listen, scripted: ScriptedServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    recorder = listen(url, retry=0.0)
    for _ in range(3):
        assert isinstance(recorder.next_pause().error, httpx.ConnectError)


def test_a_connection_is_dead_after_a_read_timeout_without_any_byte(
    listen: Listen, scripted: ScriptedServer
) -> None:
    """The timeout is long compared with the pauses, so that the test also passes on a busy machine."""
    recorder = listen(read_timeout=1.0)
    stream = scripted.next().begin()
    stream.send("data: Hello\n\n")
    assert recorder.next() == event("Hello")
    for _ in range(12):
        time.sleep(0.1)
        stream.send(":\n")
    began = time.monotonic()
    assert isinstance(recorder.next_pause().error, httpx.ReadTimeout)
    assert time.monotonic() - began > 0.5
    scripted.next()


def test_an_exception_of_a_callback_ends_the_stream(listen: Listen, scripted: ScriptedServer) -> None:
    def give_up(pause: Any) -> None:
        raise LookupError(f"{pause.failures} failures")

    recorder = listen(on_pause=give_up)
    scripted.next().begin().cut()
    assert isinstance(recorder.next(), LookupError)
    recorder = listen(on_open=lambda response: 1 / 0)
    scripted.next().begin()
    assert isinstance(recorder.next(), ZeroDivisionError)


def test_restart_reconnects_at_once_from_a_read_or_a_pause(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen(retry=600.0, last_event_id="a")
    stream = scripted.next().begin()
    stream.send("data: x\n\n")
    assert recorder.next() == event("x", "a")
    recorder.restart()
    stream.wait_until_the_client_is_gone()
    scripted.next().begin().end()
    assert recorder.next_pause().seconds == 600
    recorder.restart()
    assert scripted.next().headers["last-event-id"] == "a"


# Leaving.


def test_closing_ends_a_read(listen: Listen, scripted: ScriptedServer) -> None:
    reading, waiting = listen(), listen(scripted.url, retry=600.0)
    first, second = scripted.next().begin(), scripted.next().begin()
    for stream in (first, second):
        stream.send("data: x\n\n")
    assert [reading.next(), waiting.next()] == [event("x"), event("x")]
    reading.close()
    waiting.close()
    for stream in (first, second):
        stream.wait_until_the_client_is_gone()
    assert [reading.next(), waiting.next()] == [END, END]


def test_closing_ends_a_wait_for_an_answer_on_a_second_connection(
    listen: Listen, scripted: ScriptedServer
) -> None:
    recorder = listen()
    scripted.next().begin().end_and_keep()
    asked = scripted.next()
    recorder.close()
    asked.wait_until_the_client_is_gone()
    assert recorder.next() == END


def test_closing_ends_a_pause(listen: Listen, scripted: ScriptedServer) -> None:
    recorder = listen(retry=600.0)
    scripted.next().begin().end()
    assert recorder.next_pause().seconds == 600
    recorder.close()
    assert recorder.next() == END


def test_no_thread_is_left_at_the_end(scripted: ScriptedServer) -> None:
    before = threading.active_count()
    recorder = EventRecorder("sync", scripted.url)
    scripted.next().begin().send("data: x\n\n")
    assert recorder.next() == event("x")
    recorder.close()
    gc.collect()
    wait_for(lambda: threading.active_count() <= before, "the threads to end")
