"""HTTP at its edges: whatever a client does to its connection, the others do not notice."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from tests.observer import Observer
from tests.raw import Raw, ask, post, request
from tests.running import PATIENCE, Running, start_roomcast, wait_for

BODY = b'{"room":"a","text":"x"}'
FOLLOW = request("GET", "/messages?room=a&replay=none")
PAGE = request("GET", "/messages?room=a", "Accept: application/json")
HEALTHZ = request("GET", "/healthz")
_numbers = count()


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start_roomcast(tmp_path_factory.mktemp("server"))
    yield running
    running.end()


@pytest.fixture
def server(one_server: Running) -> Iterator[Running]:
    """After each test nobody follows, and the server has nothing to complain about."""
    yield one_server
    wait_for(lambda: one_server.metric("roomcast_followers") == 0, "the followers' end")
    assert one_server.metric("roomcast_followers_behind") == 0
    assert one_server.get("/readyz").status_code == 200
    assert not re.search("Traceback|error", one_server.said(), re.IGNORECASE), one_server.said()


def follows(server: Running, connection: Raw) -> None:
    """The connection is a live stream from here on."""
    assert b"event: live" in connection.until(b"event: live")
    assert server.metric("roomcast_followers") == 1
    text = f"text-{next(_numbers)}"
    server.publish(text, "a")
    connection.until(text.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"FETCH /messages\r\nHost: x\r\n\r\n",
        b"GET /messages?room=a HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET /messages?room=\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /messages?room=\0 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /messages?room=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /messages HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_garbage_is_refused_and_its_connection_ends(server: Running, data: bytes) -> None:
    with Raw(server.port, data) as connection:
        assert connection.rest().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "half", [b"", b"G", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "]
)
def test_half_a_request_is_no_request(server: Running, half: bytes) -> None:
    with Raw(server.port, half) as connection:
        connection.end()
        assert connection.rest() == b""
    Raw(server.port, half).socket.close()


def test_a_request_may_come_byte_by_byte(server: Running) -> None:
    with Raw(server.port) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(BODY) + PAGE:
            connection.send(bytes([byte]))
        assert connection.answer().status == 201
        assert connection.answer().status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1_000_000,
        b"GET /" + b"x" * 1_000_000,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 170_000,
    ],
    ids=["a header", "a target", "headers"],
)
def test_a_head_without_end_is_cut(server: Running, head: bytes) -> None:
    with Raw(server.port) as connection:
        with suppress(ConnectionError):
            connection.send(head)
        # Its client still sends: it may see the reset before the answer.
        assert connection.rest()[:13] in (b"", b"HTTP/1.1 431 ")


def test_a_long_url_and_many_headers_are_read(server: Running) -> None:
    assert ask(server.port, request("GET", f"/healthz?x={'x' * 30_000}")).status == 200
    assert ask(server.port, request("GET", "/healthz", *(f"X-{n}: y" for n in range(126)))).status == 200


def test_a_request_without_a_host_is_answered_over_http_1_0(server: Running) -> None:
    answer = ask(server.port, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.headers["connection"]) == (200, "close")


@pytest.mark.parametrize("hosts", ["", "Host: localhost\r\nHost: a\r\n"], ids=["none", "two"])
@pytest.mark.parametrize("begin", ["GET /healthz", "GET /messages?room=a", "POST /messages"])
def test_a_request_that_does_not_name_one_host_is_refused(server: Running, begin: str, hosts: str) -> None:
    data = f"{begin} HTTP/1.1\r\n{hosts}Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    before = server.metric("roomcast_messages_published_total")
    with Raw(server.port, data.encode() + BODY) as connection:
        assert connection.rest().startswith(b"HTTP/1.1 400 ")
    assert server.metric("roomcast_messages_published_total") == before


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://elsewhere:1/healthz", 200),
        ("http://localhost/messages?room=a&replay=none", 200),
        ("HTTP://localhost/messages?room=a&replay=none", 200),
        ("http://localhost?room=a/b", 200),
        ("http://elsewhere/messages?room=a&replay=none", 403),
        ("//healthz", 404),
        ("/healthz/", 404),
        ("/healthz?", 200),
        ("/healthz#x", 200),
        ("/%68ealthz", 200),
        ("/healthz%20", 404),
        ("/../healthz", 404),
        ("/messages%3Froom=a", 404),
        ("*", 404),
    ],
)
def test_a_target_in_any_form_is_found_or_not(server: Running, target: str, status: int) -> None:
    assert ask(server.port, request("GET", target, "Accept: application/json")).status == status


@pytest.mark.parametrize(
    ("written", "room"),
    [
        ("a%20b", "a b"),
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("%F0%9D%94%B5", "𝔵"),
        ("a/b?c", "a/b?c"),
        ("%2525", "%25"),
    ],
)
def test_a_room_is_percent_encoded_once(server: Running, written: str, room: str) -> None:
    stored = server.publish("x", room)
    answer = ask(server.port, request("GET", f"/messages?room={written}", "Accept: application/json"))
    assert stored in answer.json["messages"]


def test_a_connection_is_kept_through_refusals(server: Running) -> None:
    with Raw(server.port) as connection:
        for data, status in [
            (request("GET", "/nothing"), 404),
            (request("DELETE", "/messages"), 405),
            (request("GET", "/messages"), 422),
            (request("GET", "/messages?room=a", "Accept: image/png"), 406),
            (post(b"{"), 400),
            (request("POST", "/messages", body=BODY), 415),
            (request("OPTIONS", "/messages"), 204),
            (post(BODY), 201),
        ]:
            connection.send(data)
            assert connection.answer().status == status


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    with Raw(server.port, PAGE + PAGE + post(BODY) + PAGE + HEALTHZ) as connection:
        pages = [connection.answer().json["messages"] for _ in range(2)]
        stored = connection.answer()
        assert stored.status == 201
        assert pages[0] == pages[1]
        assert connection.answer().json["messages"] == [*pages[0], stored.json]
        assert connection.answer().json["status"] == "ok"


def test_a_request_after_a_large_body_is_not_taken_for_a_large_head(server: Running) -> None:
    with Raw(server.port, post(BODY + b" " * 200_000) + HEALTHZ[:20]) as connection:
        assert connection.answer().status == 201
        connection.send(HEALTHZ[20:])
        assert connection.answer().status == 200


def test_a_follow_behind_a_publish_is_a_stream(server: Running) -> None:
    with Raw(server.port, post(BODY) + FOLLOW) as connection:
        assert connection.answer().status == 201
        assert connection.answer(to_head=True).headers["content-type"] == "text/event-stream; charset=utf-8"
        follows(server, connection)


@pytest.mark.parametrize(
    "behind",
    [PAGE, FOLLOW, post(BODY), PAGE * 10, HEALTHZ[:20], b"\0garbage\r\n\r\n", FOLLOW + b"\0garbage\r\n\r\n"],
)
def test_requests_pipelined_after_a_follow_are_dropped(server: Running, behind: bytes) -> None:
    stored = server.get("/readyz").json()["position"]
    with Raw(server.port, FOLLOW + behind) as connection:
        head = connection.answer(to_head=True)
        assert (head.status, head.headers["connection"]) == (200, "close")
        assert server.get("/readyz").json()["position"] == stored
        follows(server, connection)


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ("Content-Length: 5", b"hello"),
        ("Content-Length: 5", b"he"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhe"),
        ("Expect: 100-continue\r\nContent-Length: 5", b""),
        ("Connection: Upgrade\r\nUpgrade: websocket", b""),
        ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", b""),
    ],
)
def test_a_follow_with_a_body_or_an_upgrade_is_a_stream(server: Running, fields: str, sent: bytes) -> None:
    with Raw(server.port, request("GET", "/messages?room=a&replay=none", fields) + sent) as connection:
        assert connection.answer(to_head=True).headers["content-type"] == "text/event-stream; charset=utf-8"
        follows(server, connection)


def test_bytes_that_a_follower_sends_later_are_ignored(server: Running) -> None:
    with Raw(server.port, FOLLOW) as connection:
        connection.answer(to_head=True)
        follows(server, connection)
        connection.send(b"\0\xff" * 100_000 + PAGE)
        text = f"text-{next(_numbers)}"
        server.publish(text, "a")
        connection.until(text.encode())


def test_a_client_that_ends_its_side_is_still_answered(server: Running) -> None:
    for data, statuses in ((HEALTHZ, [200]), (post(BODY), [201]), (PAGE, [200]), (post(BODY) + PAGE, [201, 200])):
        with Raw(server.port, data) as connection:
            connection.end()
            assert [connection.answer().status for _ in statuses] == statuses
            assert connection.rest() == b""


def test_a_follower_that_ends_its_side_is_gone(server: Running) -> None:
    with Raw(server.port, FOLLOW) as connection:
        connection.answer(to_head=True)
        follows(server, connection)
        connection.end()
        connection.rest()
    with Raw(server.port, FOLLOW) as connection:
        connection.end()
        connection.rest()


def test_a_client_that_disconnects_in_the_middle_of_a_body_stores_nothing(server: Running) -> None:
    before = server.get("/readyz").json()["position"]
    for linger in (b"\1\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0"):  # a reset, an orderly end
        connection = Raw(server.port, post(BODY)[:-1])
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.socket.close()
    with Raw(server.port, post(BODY)[:-1]) as half:
        half.end()
        assert half.rest() == b""
    assert server.get("/readyz").json()["position"] == before


def test_followers_that_disconnect_at_once_leave_nothing_behind(server: Running) -> None:
    for number in range(50):
        connection = Raw(server.port, FOLLOW if number % 2 else FOLLOW + PAGE)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.socket.close()


def test_a_follower_over_http_1_0_gets_no_chunks(server: Running) -> None:
    with Observer(server.port, "/messages?room=a&replay=none", version="1.0") as follower:
        assert "transfer-encoding" not in follower.headers
        assert follower.next().name == "live"


def test_a_log_line_is_one_line_without_control_characters(server: Running) -> None:
    mark = f"mark-{next(_numbers)}"
    target = f"/{mark}%1b%5b31m%0a12:00:00%20{'x' * 5_000}"
    assert ask(server.port, request("GET", target)).status == 404
    assert ask(server.port, request("GET", f"/messages?room=%1b%0a{mark}")).status == 422
    wait_for(lambda: server.said().count(mark) == 2, "two lines")
    lines = [line for line in server.said().split("\n") if mark in line]
    assert re.fullmatch(rf"[\d:.TZ-]+ 127\.0\.0\.1 GET /{mark}%1b%5b31m%0a12:00:00%20x+ 404 [\d.]+ ms", lines[0])
    assert len(lines[0]) < 1_100
    assert re.fullmatch(rf"[\d:.TZ-]+ 127\.0\.0\.1 GET /messages\?room=%1b%0a{mark} 422 [\d.]+ ms", lines[1])
    assert all(line.isprintable() for line in server.said().split("\n"))


_IMPATIENT = (
    "from roomcast.http import context;"
    "context.HEAD_SECONDS = context.BODY_SECONDS = 1.5; context.LOOK_SECONDS = 0.1;"
    "from roomcast.cli.main import main; main()"
)


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Running]:
    """A server that gives a request 1.5 s, and looks every 0.1 s."""
    options = ["--port=0", "--page-port=0", "--log=memory:"]
    server = Running([sys.executable, "-c", _IMPATIENT, "serve", *options], tmp_path)
    server.port = int(server.wait_until_it_says(r"follow +http://localhost:(\d+)/")[1])
    yield server
    server.end()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", b""),
        (post(BODY)[:-1], b"HTTP/1.1 408 Request Timeout\r\n"),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_client_that_never_ends_its_request_is_closed(impatient: Running, sent: bytes, answer: bytes) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), PATIENCE) as slow:
        slow.sendall(sent)
        got = b""
        while data := slow.recv(4096):
            got += data
    assert got.startswith(answer)
    assert bool(got) == bool(answer)


@pytest.mark.parametrize("rest", [1, len(BODY) + 1], ids=["a body", "a head and a body"])
def test_a_connection_kept_for_long_has_the_whole_time_for_its_next_request(impatient: Running, rest: int) -> None:
    kept = Raw(impatient.port, post(BODY))
    with kept.socket:
        assert kept.answer().status == 201
        with socket.create_connection(("127.0.0.1", impatient.port), PATIENCE) as other:
            assert other.recv(1) == b""  # closed, and so the time of a request has gone by
        kept.send(post(BODY)[:-rest])
        began = time.monotonic()
        while time.monotonic() < began + 0.5:  # the server looks at its connections every 0.1 s meanwhile
            assert impatient.get("/healthz").status_code == 200
        kept.send(post(BODY)[-rest:])
        assert kept.answer().status == 201


def test_a_long_pipeline_is_answered_to_its_end(server: Running) -> None:
    """More than is read at once, and its client has ended its side."""
    count = 5_000
    with Raw(server.port) as connection:

        def send() -> None:
            connection.send(HEALTHZ * count)
            connection.end()

        sender = threading.Thread(target=send)
        sender.start()
        assert connection.rest().count(b"HTTP/1.1 200 OK") == count
        sender.join()


def test_trailers_are_skipped(server: Running) -> None:
    head = request("POST", "/messages", "Content-Type: application/json", "Transfer-Encoding: chunked")
    trailers = b"Idempotency-Key: x\r\nHost: y\r\n" * 60
    with Raw(server.port, head + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(BODY), BODY, trailers) + HEALTHZ) as connection:
        assert connection.answer().status == 201
        assert connection.answer().status == 200


def test_a_client_that_disconnects_during_a_pipeline_leaves_no_trace(server: Running) -> None:
    for _ in range(20):
        connection = Raw(server.port, (PAGE + HEALTHZ) * 500)
        connection.until(b"HTTP/1.1 ")
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.socket.close()
