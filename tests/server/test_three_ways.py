"""The three ways in give the same answers to everything a client sends, in whichever pieces it comes: the fast
path, h11, and ASGI under somebody else's server. So the fast path makes a server fast, and nothing else."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.observer import Observer
from tests.raw import Raw, ask, post, request
from tests.running import PATIENCE, Running, start_roomcast, start_uvicorn, wait_for

BODY = b'{"room":"a","text":"x"}'
ORIGINS = ("--allow-origin=http://a.example", "--allow-origin=http://b.example")
_WITHOUT_FAST_PATH = """
from roomcast.cli.main import main
from roomcast.http.http1 import Http1
from roomcast.serve import server
server.FastPath = Http1
main()
"""
HEALTHZ = request("GET", "/healthz")
_LAST = request("GET", "/healthz", "Connection: close")
"""Its answer ends every conversation that was not ended before."""
REQUESTS = (
    post(BODY),
    post(BODY, "Idempotency-Key: {key}"),
    post(BODY, "Idempotency-Key: a b"),
    post(BODY, "X-Twice: 1", "X-Twice: 2"),
    post(BODY, "Origin: http://a.example", "traceparent: 00-{key}-1"),
    post(BODY, "Origin: http://c.example", "Cookie: a={key}"),
    post(b'{"room":"a"}'),
    post(b"{"),
    post(BODY).replace(b"application/json", b"text/plain"),
    post(BODY).replace(b"/messages", b"/messages?x=1"),
    post(BODY).replace(b"POST", b"PUT"),
    post(BODY).replace(b"POST", b"FOO"),
    post(BODY + b" " * 70_000),
    request("POST", "/messages", "Content-Type: application/json", "Transfer-Encoding: chunked")
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    request("POST", "/messages", "Content-Type: application/json", "Content-Length: 0"),
    request("GET", "/messages?room=", "Accept: text/event-stream"),
    request("GET", "/messages?room=a&limit=0", "Accept: application/json"),
    request("GET", "/messages?room=a&limit=2", "Accept: application/json", "Origin: http://b.example"),
    request("GET", "/messages?room=a", "Accept: image/png"),
    request("GET", "/messages/nonsense"),
    request("GET", "/readyz?{key}"),
    request("GET", "/page/icon.svg", "Origin: http://a.example"),
    request("HEAD", "/messages?room=a"),
    request("HEAD", "/"),
    request("OPTIONS", "/messages", "Origin: http://a.example", "Access-Control-Request-Method: POST"),
    request("GET", "/nowhere"),
)
ONLY_OURS = (
    post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    post(BODY).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1),
    post(BODY).replace(b"\r\n\r\n", b"\r\nConnection: keep-alive, close\r\n\r\n", 1),
    request("POST", "/messages", "Content-Type: application/json", "Transfer-Encoding: gzip, chunked"),
    request("GET", "/messages?room=größe"),
    b"FOO /messages\r\n\r\n",
    b"\r\n",
)
"""Requests that somebody else's server answers in its own way, or not at all."""
FOLLOWS = (
    request("GET", "/messages?room=quiet&replay=none", "Accept: text/event-stream"),
    request("GET", "/messages?room=quiet", "Accept: application/x-ndjson", "Origin: http://a.example"),
    request("GET", "/messages?room=quiet&last_event_id=nonsense", "Cookie: a=b"),
    request("GET", "/messages?room=quiet", "Last-Event-ID: nonsense"),
)


def _start(
    folder: Path, *, log: str = "memory:", origins: Sequence[str] = (), max_followers: int = 0
) -> tuple[Running, ...]:
    """A server that is reached in each of the three ways."""
    flags = ["--open", "--port=0", "--page-port=0", f"--log={log}", *origins, f"--max-followers={max_followers}"]
    folders = [folder / way for way in ("fast", "h11", "asgi")]
    for one in folders:
        one.mkdir()
    h11 = Running([sys.executable, "-c", _WITHOUT_FAST_PATH, "serve", *flags], folders[1])
    h11.port = int(h11.wait_until_it_says(r"follow +http://localhost:(\d+)/")[1])
    asked: dict[str, object] = {"log": log, "max_followers": max_followers}
    if origins:
        asked["allow_origin"] = [origin.partition("=")[2] for origin in origins]
    env = {"ROOMCAST_TEST_OPTIONS": json.dumps(asked)}
    root = f"--app-dir={Path(__file__).parents[2]}"
    asgi = start_uvicorn(folders[2], "tests.hosted:app", "--http=h11", root, "--no-server-header", env=env)
    return start_roomcast(folders[0], *flags), h11, asgi


@pytest.fixture(scope="module", params=["any origin", "named origins"])
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, ...]]:
    origins = ORIGINS if request.param == "named origins" else ()
    started = _start(tmp_path_factory.mktemp("three"), origins=origins)
    yield started
    for server in started:
        assert "Traceback" not in server.said()
        server.end()


def talk(server: Running, pieces: Sequence[bytes], ends: bytes) -> tuple[bytes, bool]:
    """Everything the server says until it closes the connection, or until `ends` came; and whether that may be cut
    short: a server that closes with something unread resets the connection, and takes back what was not read."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = b""
        try:
            for piece in pieces:
                client.sendall(piece)
            while not (ends and ends in said) and (data := client.recv(65536)):
                said += data
        except (ConnectionResetError, BrokenPipeError):
            return said, True
        return said, False


def compared(said: bytes) -> bytes:
    """Without what differs from moment to moment, and from server to server."""
    said = re.sub(rb"date: [^\r]+ GMT", b"date", said)
    said = re.sub(rb"[a-z0-9]{10}-\d+", b"id", said)
    said = re.sub(rb"content-length: \d+", b"length", said)  # of an id with more digits
    return re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z", b"time", said)


def cut(data: bytes, places: Sequence[float]) -> list[bytes]:
    ends = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends) if end > start]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    conversation=st.lists(st.sampled_from((*REQUESTS, *ONLY_OURS)), min_size=1, max_size=5),
    last=st.sampled_from((_LAST, *FOLLOWS)),
    places=st.lists(st.floats(0, 1), max_size=6),
    key=st.integers(0, 2**64),
)
def test_every_conversation_goes_as_with_h11_alone(
    servers: tuple[Running, ...], conversation: list[bytes], last: bytes, places: list[float], key: int
) -> None:
    data = b"".join([*conversation, last]).replace(b"{key}", b"%020d" % key)
    ends = b"" if last is _LAST else b"live"
    told = [talk(server, cut(data, places), ends) for server in servers[:2]]
    shorter, longer = sorted((compared(said) for said, _ in told), key=len)
    assert longer.startswith(shorter)
    assert any(reset for _, reset in told) or longer == shorter


_ANOTHERS = {"connection", "date", "transfer-encoding"}
"""Header fields that belong to a connection, and so to whose connection it is."""


@pytest.mark.parametrize("data", [*REQUESTS, *FOLLOWS], ids=range(len(REQUESTS) + len(FOLLOWS)))
def test_every_answer_is_the_same_over_asgi(servers: tuple[Running, ...], data: bytes) -> None:
    key = b"%020d" % abs(hash(data))
    answers = [seen(server, data.replace(b"{key}", key)) for server in servers]
    assert answers[1:] == answers[:1] * 2


def seen(server: Running, data: bytes) -> tuple[int, dict[str, bytes], bytes]:
    stream = data in FOLLOWS
    with Raw(server.port, data) as connection:
        answer = connection.answer(to_head=stream or data.startswith(b"HEAD"))
        body = connection.until(b"live") if stream else answer.body
    fields = {name: compared(f"{name}: {value}".encode()) for name, value in answer.headers.items()}
    if stream:  # chunks are the connection's
        body = b"\n".join(line for line in body.splitlines() if not re.fullmatch(rb"[0-9a-f]*", line))
    return answer.status, {name: value for name, value in fields.items() if name not in _ANOTHERS}, compared(body)


def test_a_full_server_sends_followers_away_in_each_way(tmp_path: Path) -> None:
    started = _start(tmp_path, max_followers=1)
    try:
        for server in started:
            with Observer(server.port, "/messages?room=a&replay=none") as follower:
                follower.until_live()
                answer = ask(server.port, FOLLOWS[0])
                assert re.fullmatch(rb"retry: \d{4,5}\n", answer.body)
                assert answer.headers["content-type"].startswith("text/event-stream")
            wait_for(lambda s=server: s.metric("roomcast_followers") == 0, "the follower's end")  # type: ignore[misc]
            assert server.metric('roomcast_streams_ended_total{reason="overload"}') == 1
    finally:
        for server in started:
            server.kill()


def test_a_draining_server_sends_followers_away_in_each_way(tmp_path: Path) -> None:
    """A follower that reads nothing delays the end meanwhile."""
    started = _start(tmp_path)
    try:
        for server in started[:2]:  # the third's host closes its listeners first
            with Raw(server.port) as kept, Observer(server.port, "/messages?room=a", receive_buffer=4096) as stuck:
                kept.send(HEALTHZ)
                assert kept.answer().status == 200
                for _ in range(20):
                    server.publish("x" * 60_000, "a")
                assert stuck.status == 200
                server.process.terminate()
                wait_for(lambda s=server: s.get("/readyz").status_code == 503, "the drain")  # type: ignore[misc]
                kept.send(FOLLOWS[0])
                assert re.fullmatch(rb"retry: \d{4,5}\n", kept.answer().body)
    finally:
        for server in started:
            server.kill()


def test_with_the_log_away_each_way_says_so(tmp_path: Path) -> None:
    """The log is a MongoDB that does not exist, so it was never reached."""
    log = "mongodb://127.0.0.1:1/serversentevents?serverSelectionTimeoutMS=100"
    started = _start(tmp_path, log=log)
    try:
        for server in started:
            assert ask(server.port, FOLLOWS[0]).body.startswith(b"retry: ")
            page = ask(server.port, request("GET", "/messages?room=a", "Accept: application/json"))
            assert (page.status, "retry-after" in page.headers) == (503, True)
    finally:
        for server in started:
            server.kill()
