"""The general EventSource, with `await` and without: what LaunchDarkly's contract tests ask for, and more."""

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
from tests.client.scene import END, Ears, Scene
from tests.running import wait_for


def event(data: str, id: str = "", type: str = "message") -> Event:
    return Event(type, data, id)


# What is read.


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_line_ends_of_all_kinds_split_over_chunks(listen: Listen, scene: Scene, end: str, size: int) -> None:
    ears = listen()
    stream = f"data: 1{end}{end}data: 2{end}data:{end}data: 3{end}{end}{end}{end}data: 4{end}{end}"
    scene.next().begin().send(*(stream[n : n + size] for n in range(0, len(stream), size)))
    assert [ears.next() for _ in range(3)] == [event("1"), event("2\n\n3"), event("4")]


def test_a_crlf_whose_halves_come_apart_is_one_line_end(listen: Listen, scene: Scene) -> None:
    ears = listen()
    scene.next().begin().send("data: Hello\r", "\ndata: World\r", "\n\r\ndata: OK\r", "\n", "\r", "\n")
    assert [ears.next(), ears.next()] == [event("Hello\nWorld"), event("OK")]


@pytest.mark.parametrize("pieces", [[b"\xef\xbb\xbf"], [b"\xef\xbb", b"\xbf"], [b"\xef", b"\xbb", b"\xbf"]])
def test_a_byte_order_mark_is_skipped_once(listen: Listen, scene: Scene, pieces: list[bytes]) -> None:
    ears = listen()
    scene.next().begin().send(*pieces, "data: \ufeffa\n\ndata: \ufeffb\n\n")
    assert [ears.next(), ears.next()] == [event("\ufeffa"), event("\ufeffb")]


def test_comments_come_in_their_place_and_at_once(listen: Listen, scene: Scene) -> None:
    ears = listen(comments=True)
    stream = scene.next().begin()
    stream.send(":Hello\n")
    assert ears.next() == Comment("Hello")
    stream.send(": World\ndata: x\n\n", ":\n")
    assert [ears.next() for _ in range(3)] == [Comment(" World"), event("x"), Comment("")]


def test_comments_are_not_given_unless_asked_for(listen: Listen, scene: Scene) -> None:
    ears = listen()
    scene.next().begin().send(": a\n", "data: x\n\n")
    assert ears.next() == event("x")


def test_null_ids_are_ignored_empty_ones_reset_and_others_persist(listen: Listen, scene: Scene) -> None:
    ears = listen()
    blocks = ["id: a\ndata: 1\n\n", "data: 2\n\n", "id: b\0c\ndata: 3\n\n", "id:\ndata: 4\n\n", "data: 5\n\n"]
    scene.next().begin().send(*blocks)
    heard = [ears.next() for _ in blocks]
    assert [one.id for one in heard] == ["a", "a", "a", "", ""]


def test_unknown_fields_are_ignored(listen: Listen, scene: Scene) -> None:
    ears = listen()
    scene.next().begin().send("event: greeting\ncolor: blue\ndata: Hello\nblue\n\n")
    assert ears.next() == event("Hello", type="greeting")


def test_utf_8_in_single_bytes(listen: Listen, scene: Scene) -> None:
    ears = listen()
    scene.next().begin().send(*(bytes([byte]) for byte in "data: €豆腐😀\n\n".encode()))
    assert ears.next() == event("€豆腐😀")


@pytest.mark.parametrize("size", [1023, 4096, 8192, 65_536, 1_048_576])
def test_payloads_of_all_sizes_arrive_without_waiting_for_more(listen: Listen, scene: Scene, size: int) -> None:
    ears = listen()
    scene.next().begin().send("data: " + "x" * size + "\n\n")
    assert ears.next() == event("x" * size)


def test_many_events_at_once_stay_in_order(listen: Listen, scene: Scene) -> None:
    ears = listen()
    scene.next().begin().send("".join(f"data: {n}\n\n" for n in range(1000)))
    assert [ears.next().data for _ in range(1000)] == [str(n) for n in range(1000)]


def test_a_line_without_end_is_refused(listen: Listen, scene: Scene) -> None:
    ears = listen(max_block=1000)
    stream = scene.next().begin()
    stream.send("data: x\n\n", "data: " + "x" * 1000)
    assert ears.next() == event("x")
    assert isinstance(ears.next(), Endless)
    stream.wait_until_the_client_is_gone()


# What is asked for.


def test_the_request_by_default(listen: Listen, scene: Scene) -> None:
    listen()
    asked = scene.next()
    assert (asked.method, asked.target, asked.body) == ("GET", "/events", b"")
    assert asked.headers["accept"] == "text/event-stream"
    assert asked.headers["cache-control"] == "no-cache"
    assert asked.headers["accept-encoding"] == "identity"
    assert "last-event-id" not in asked.headers


@pytest.mark.parametrize("method", ["POST", "REPORT"])
def test_custom_methods_headers_and_bodies_and_again_with_every_connection(
    listen: Listen, scene: Scene, method: str
) -> None:
    body = json.dumps({"hello": "world"})
    headers = {"content-type": "application/json; charset=utf-8", "X-Name": "välue"}
    listen(method=method, body=body, headers=headers)
    for _ in range(2):
        asked = scene.next()
        assert (asked.method, asked.body) == (method, body.encode())
        assert asked.headers["content-type"] == headers["content-type"]
        assert asked.headers["x-name"].encode("latin-1").decode() == "välue"
        asked.begin().cut()


def test_headers_of_the_caller_win(listen: Listen, scene: Scene) -> None:
    listen(headers={"ACCEPT": "text/event-stream, */*", "last-event-id": "x"}, last_event_id="y")
    asked = scene.next()
    assert asked.headers["accept"] == "text/event-stream, */*"
    assert asked.headers["last-event-id"] == "x"


@pytest.mark.parametrize("awaited", [False, True])
def test_headers_and_auth_by_a_call_are_asked_for_at_each_connection(
    listen: Listen, scene: Scene, kind: str, awaited: bool
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
        asked = scene.next()
        assert asked.headers["authorization"] == f"Bearer token-{n}"
        assert asked.headers["x"] == "1"
        asked.begin().cut()


def test_what_must_be_awaited_is_refused_where_nothing_awaits(scene: Scene) -> None:
    async def auth() -> str:
        raise AssertionError

    ears = Ears("sync", scene.url, auth=auth)
    assert isinstance(error := ears.next(), TypeError)
    assert "plain function" in str(error)


@pytest.mark.parametrize("auth", [("user", "pass"), httpx.BasicAuth("user", "pass")])
def test_auth_as_httpx_takes_it(listen: Listen, scene: Scene, auth: Any) -> None:
    listen(auth=auth)
    assert scene.next().headers["authorization"] == "Basic dXNlcjpwYXNz"


def test_a_proxy_by_a_call_is_asked_for_at_each_connection(listen: Listen, scene: Scene) -> None:
    proxies = [Scene(), Scene()]
    ways = iter(proxies)
    try:
        ears = listen("http://nowhere.invalid/x", proxy=lambda: next(ways).url.removesuffix("/events"))
        for proxy in proxies:
            asked = proxy.next()
            assert asked.target == "http://nowhere.invalid/x"
            stream = asked.begin()
            stream.send("data: x\n\n")
            assert ears.next() == event("x")
            stream.cut()
    finally:
        for proxy in proxies:
            proxy.close()


# Redirections and finals.


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
def test_a_redirection_is_followed(listen: Listen, scene: Scene, status: str) -> None:
    ears = listen()
    scene.next().answer(status, "Location: /there")
    asked = scene.next()
    assert asked.target == "/there"
    asked.begin().send("data: hello\n\n")
    assert ears.next() == event("hello")


def test_the_next_connection_asks_at_the_first_address_again(listen: Listen, scene: Scene) -> None:
    listen()
    for _ in range(2):
        asked = scene.next()
        assert asked.target == "/events"
        asked.answer("307 Temporary Redirect", "Location: /there")
        scene.next().begin().cut()


def test_a_307_sends_the_body_again(listen: Listen, scene: Scene) -> None:
    listen(method="POST", body="x", headers={"Content-Type": "text/plain"})
    scene.next().answer("307 Temporary Redirect", "Location: /there")
    asked = scene.next()
    assert (asked.method, asked.target, asked.body) == ("POST", "/there", b"x")


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
@pytest.mark.parametrize(
    "location", [[], ["Location:"], ["Location: http://"], ["Location: mailto:a@b.c"], ["Location: http://[::1"]]
)
def test_a_bad_location_is_an_error_at_once(
    listen: Listen, scene: Scene, status: str, location: list[str]
) -> None:
    ears = listen()
    scene.next().answer(status, *location)
    assert isinstance(error := ears.next(), Refused), error
    assert error.answered == int(status[:3])
    assert scene.is_quiet(0.1)


def test_redirections_in_a_circle_end(listen: Listen, scene: Scene) -> None:
    ears = listen()
    for _ in range(21):
        scene.next().answer("307 Temporary Redirect", f"Location: {scene.url}")
    assert isinstance(ears.next(), Refused)
    assert scene.is_quiet(0.1)


def test_a_204_ends_it_for_good_and_is_no_error(listen: Listen, scene: Scene) -> None:
    ears = listen()
    scene.next().begin().end("data: x\n\n")
    scene.next().answer("204 No Content")
    assert [ears.next(), ears.next()] == [event("x"), END]
    assert scene.is_quiet(0.1)


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
def test_whatever_is_no_stream_is_final(listen: Listen, scene: Scene, status: str) -> None:
    ears = listen()
    content_type = "text/plain" if status == "200 OK" else "text/event-stream"
    body = b"" if status in ("205 Reset Content", "304 Not Modified") else b"data: no\n\n"  # they can have none
    scene.next().answer(status, f"Content-Type: {content_type}", body=body)
    error = ears.next()
    assert isinstance(error, Refused)
    assert error.answered == int(status[:3])
    assert status in str(error)
    assert scene.is_quiet(0.1)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/event-stream;charset=utf-8",
        "text/event-stream; charset=windows-1251",
        "text/event-stream;",
        "Text/Event-Stream ; x=y",
    ],
)
def test_the_content_type_may_have_parameters_and_it_is_utf_8_all_the_same(
    listen: Listen, scene: Scene, content_type: str
) -> None:
    ears = listen()
    scene.next().begin(content_type).send("data: ok…\n\n")
    assert ears.next() == event("ok…")


@pytest.mark.parametrize(
    "content_type", ["text/x-bogus", "text/event-streams", "text/event", "", "application/json"]
)
def test_another_content_type_is_no_stream(listen: Listen, scene: Scene, content_type: str) -> None:
    ears = listen()
    scene.next().begin(content_type).end("data: no\n\n")
    assert isinstance(ears.next(), Refused)
    assert scene.is_quiet(0.1)


def test_statuses_of_a_server_that_restarts_are_final_by_the_standard_unless_the_caller_wants(
    listen: Listen, scene: Scene
) -> None:
    ears = listen(again_on={502, 503}, retry=0.0, max_delay=0.05)
    scene.next().answer("502 Bad Gateway")
    assert isinstance(ears.next_pause().error, Refused)
    scene.next().answer("503 Service Unavailable", "Retry-After: 3600")
    assert ears.next_pause().seconds == 0.05
    scene.next().answer("504 Gateway Timeout")
    assert isinstance(ears.next(), Refused)


# Connecting again.


def test_the_last_id_is_sent_again(listen: Listen, scene: Scene) -> None:
    ears = listen()
    stream = scene.next().begin()
    stream.send("id: ä€\ndata: 1\n\n", "data: 2\n\n")
    assert [ears.next(), ears.next()] == [event("1", "ä€"), event("2", "ä€")]
    stream.cut()
    asked = scene.next()
    assert asked.headers["last-event-id"].encode("latin-1").decode() == "ä€"
    asked.begin().send("data: 3\n\n")
    assert ears.next() == event("3", "ä€")


def test_an_id_may_be_given_for_the_first_connection(listen: Listen, scene: Scene) -> None:
    ears = listen(last_event_id="abc")
    asked = scene.next()
    assert asked.headers["last-event-id"] == "abc"
    asked.begin().send("data: x\n\n")
    assert ears.next() == event("x", "abc")


def test_an_id_that_was_reset_is_not_sent(listen: Listen, scene: Scene) -> None:
    ears = listen(last_event_id="abc")
    stream = scene.next().begin()
    stream.send("id\ndata: x\n\n")
    assert ears.next() == event("x")
    stream.cut()
    assert "last-event-id" not in scene.next().headers


def test_a_partial_block_at_the_end_is_discarded_with_its_id(listen: Listen, scene: Scene) -> None:
    ears = listen()
    stream = scene.next().begin()
    stream.send("id: abc\ndata: Hello\n\nid: def\nevent: x\ndata: Goodbye\n")
    assert ears.next() == event("Hello", "abc")
    stream.end()
    asked = scene.next()
    assert asked.headers["last-event-id"] == "abc"
    asked.begin().send("data: We meet again\n\n")
    assert ears.next() == event("We meet again", "abc")


def test_the_id_of_a_block_without_data_counts(listen: Listen, scene: Scene) -> None:
    listen()
    scene.next().begin().end("id: abc\n\n")
    assert scene.next().headers["last-event-id"] == "abc"


def test_retry_says_how_long_to_wait_and_a_bad_one_says_nothing(listen: Listen, scene: Scene) -> None:
    ears = listen(retry=60.0)
    stream = scene.next().begin()
    stream.send("retry: 300\n", "retry: 1x\nretry:\n", "data: x\n\n")
    assert ears.next() == event("x")
    began = time.monotonic()
    stream.end()
    assert ears.next_pause() == (0.3, None, 0)
    scene.next()
    assert time.monotonic() - began >= 0.3


def test_a_clean_end_and_an_error_are_told_apart(listen: Listen, scene: Scene) -> None:
    ears = listen(retry=0.01)
    scene.next().begin().end()
    assert ears.next_pause().error is None
    scene.next().begin().cut()
    assert isinstance(ears.next_pause().error, httpx.RemoteProtocolError)
    scene.next().reset()
    assert isinstance(ears.next_pause().error, httpx.TransportError)


def test_after_errors_the_pause_grows_at_random_and_never_below_the_retry(listen: Listen, scene: Scene) -> None:
    ears = listen(retry=0.01, max_delay=1.0)
    pauses = []
    for _ in range(6):
        scene.next().begin().cut()
        pauses.append(ears.next_pause())
    assert [pause.failures for pause in pauses] == [1, 2, 3, 4, 5, 6]
    for n, pause in enumerate(pauses):
        assert 0.01 <= pause.seconds <= min(0.01 + 0.1 * 2**n, 1.0)
    assert len({pause.seconds for pause in pauses}) > 2
    stream = scene.next().begin()
    stream.send("data: x\n\n")
    assert ears.next() == event("x")
    stream.cut()
    assert ears.next_pause().failures == 1


def test_a_server_that_is_not_there_is_tried_again(listen: Listen, scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    ears = listen(url, retry=0.0)
    for _ in range(3):
        assert isinstance(ears.next_pause().error, httpx.ConnectError)


def test_a_silent_connection_is_dead_after_the_read_timeout_and_any_byte_postpones_it(
    listen: Listen, scene: Scene
) -> None:
    """The time-out is what is tested: it is long beside the pauses, so that a busy machine does not break it."""
    ears = listen(read_timeout=1.0)
    stream = scene.next().begin()
    stream.send("data: Hello\n\n")
    assert ears.next() == event("Hello")
    for _ in range(12):
        time.sleep(0.1)
        stream.send(":\n")
    began = time.monotonic()
    assert isinstance(ears.next_pause().error, httpx.ReadTimeout)
    assert time.monotonic() - began > 0.5
    scene.next()


def test_what_a_callback_raises_ends_it(listen: Listen, scene: Scene) -> None:
    def give_up(pause: Any) -> None:
        raise LookupError(f"{pause.failures} failures")

    ears = listen(on_pause=give_up)
    scene.next().begin().cut()
    assert isinstance(ears.next(), LookupError)
    ears = listen(on_open=lambda response: 1 / 0)
    scene.next().begin()
    assert isinstance(ears.next(), ZeroDivisionError)


def test_the_caller_can_restart_it_while_it_reads_and_while_it_waits(listen: Listen, scene: Scene) -> None:
    ears = listen(retry=600.0, last_event_id="a")
    stream = scene.next().begin()
    stream.send("data: x\n\n")
    assert ears.next() == event("x", "a")
    ears.restart()
    stream.wait_until_the_client_is_gone()
    scene.next().begin().end()
    assert ears.next_pause().seconds == 600
    ears.restart()
    assert scene.next().headers["last-event-id"] == "a"


# Leaving.


def test_closing_wakes_who_reads_and_who_waits(listen: Listen, scene: Scene) -> None:
    reading, waiting = listen(), listen(scene.url, retry=600.0)
    first, second = scene.next().begin(), scene.next().begin()
    for stream in (first, second):
        stream.send("data: x\n\n")
    assert [reading.next(), waiting.next()] == [event("x"), event("x")]
    reading.close()
    waiting.close()
    for stream in (first, second):
        stream.wait_until_the_client_is_gone()
    assert [reading.next(), waiting.next()] == [END, END]


def test_closing_wakes_who_waits_for_an_answer_also_behind_a_stream_that_left_its_connection(
    listen: Listen, scene: Scene
) -> None:
    ears = listen()
    scene.next().begin().end_and_keep()
    asked = scene.next()
    ears.close()
    asked.wait_until_the_client_is_gone()
    assert ears.next() == END


def test_closing_ends_a_pause(listen: Listen, scene: Scene) -> None:
    ears = listen(retry=600.0)
    scene.next().begin().end()
    assert ears.next_pause().seconds == 600
    ears.close()
    assert ears.next() == END


def test_at_the_end_no_thread_is_left(scene: Scene) -> None:
    before = threading.active_count()
    ears = Ears("sync", scene.url)
    scene.next().begin().send("data: x\n\n")
    assert ears.next() == event("x")
    ears.close()
    gc.collect()
    wait_for(lambda: threading.active_count() <= before, "the threads to end")
