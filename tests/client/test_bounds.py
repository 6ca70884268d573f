"""A hostile server: the client reads a bounded part of any answer, and never spins."""

from __future__ import annotations

import contextlib
import gzip
import resource
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from roomcast.client import Refused, TooMuch
from roomcast.client.stream_state import StreamState
from tests.client.conftest import Listen, MakeClient
from tests.client.scripted import Connection, ScriptedServer, aside
from tests.running import PATIENCE

MIB = 1024 * 1024
STORED = b'{"id":"abcd-1","room":"r","user":"anonymous","text":"x","timestamp":"2026-11-26T00:00:00.000Z"}'
CALLS: dict[str, Callable[[Any], Any]] = {
    "publish": lambda one: one.publish("r", text="x"),
    "publish_batch": lambda one: one.publish_batch([{"room": "r", "text": "x"}]),
    "history": lambda one: one.history("r"),
    "message": lambda one: one.message("abcd-1"),
    "rooms": lambda one: one.rooms(),
}
BY_CALL = pytest.mark.parametrize("call", CALLS)


@contextlib.contextmanager
def measured() -> Iterator[list[int]]:
    """The peak of Python's memory in bytes."""
    tracemalloc.start()
    most: list[int] = []
    try:
        yield most
    finally:
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


def flood(
    asked: Connection, *fields: str, status: str = "200 OK", piece: bytes = b" " * MIB, pieces: int = 400
) -> int:
    """Sends a body of 400 MiB. Returns how many bytes the client took."""
    head = "\r\n".join([f"HTTP/1.1 {status}", *fields, "Content-Type: application/json", "", ""])
    sent = 0
    with contextlib.suppress(OSError):
        asked.socket.sendall(head.encode())
        for _ in range(pieces):
            asked.socket.sendall(piece)
            sent += len(piece)
    asked.socket.close()
    return sent


@BY_CALL
def test_an_endless_answer_is_refused(scripted: ScriptedServer, client: MakeClient, call: str) -> None:
    one = client(scripted.url.removesuffix("/events"), max_answer=MIB)
    with measured() as most:
        calling = aside(CALLS[call], one)
        assert flood(scripted.next()) < 100 * MIB
        with pytest.raises(TooMuch, match="max_answer"):
            calling.result(PATIENCE)
    assert most[0] < 30 * MIB


def test_an_answer_has_a_bound_by_default(scripted: ScriptedServer, client: MakeClient) -> None:
    one = client(scripted.url.removesuffix("/events"))
    calling = aside(CALLS["history"], one)
    assert flood(scripted.next()) < 200 * MIB
    with pytest.raises(TooMuch):
        calling.result(PATIENCE)


@BY_CALL
@pytest.mark.parametrize("status", ["404 Not Found", "307 Temporary Redirect"])
def test_the_body_of_an_endless_error_or_redirect_is_cut(
    scripted: ScriptedServer, client: MakeClient, call: str, status: str
) -> None:
    one = client(scripted.url.removesuffix("/events"))
    with measured() as most:
        calling = aside(CALLS[call], one)
        assert flood(scripted.next(), "Location: /elsewhere", status=status) < 100 * MIB
        if status.startswith("307"):
            asked = scripted.next()
            assert asked.target == "/elsewhere"
            asked.answer("404 Not Found")
        with pytest.raises(Refused, match="404"):
            calling.result(PATIENCE)
    assert most[0] < 30 * MIB


@cache
def compressed(times: int) -> bytes:
    """50 MiB of spaces, compressed `times` times."""
    body = b" " * 50 * MIB
    for _ in range(times):
        body = gzip.compress(body)
    return body


@BY_CALL
@pytest.mark.parametrize("encodings", ["gzip", "gzip, gzip", "deflate", "br"])
def test_a_compressed_answer_is_refused_and_not_unpacked(
    scripted: ScriptedServer, client: MakeClient, call: str, encodings: str
) -> None:
    one = client(scripted.url.removesuffix("/events"))
    body = compressed(1 if encodings == "gzip" else 2)
    with measured() as most:
        calling = aside(CALLS[call], one)
        asked = scripted.next()
        assert asked.headers["accept-encoding"] == "identity"
        asked.answer("200 OK", f"Content-Encoding: {encodings}", body=body)
        with pytest.raises(Refused, match="not asked for"):
            calling.result(PATIENCE)
    assert most[0] < 20 * MIB


def test_a_compressed_stream_is_refused(scripted: ScriptedServer, listen: Listen) -> None:
    recorder = listen()
    scripted.next().answer("200 OK", "Content-Type: text/event-stream", "Content-Encoding: gzip", body=b"")
    assert isinstance(recorder.next(), Refused)


def test_pages_of_rooms_are_read_to_the_last_one(scripted: ScriptedServer, client: MakeClient) -> None:
    """The client asks the same server again: the host of the link must not get the client's headers."""
    one = client(scripted.url.removesuffix("/events"))
    calling = aside(one.rooms)
    for number in range(3):
        asked = scripted.next()
        assert asked.target == ("/rooms" if not number else f"/rooms?after=r{number - 1}")
        row = b'{"room":"r%d","messages":1,"newest":null,"newest_at":null,"followers":0}' % number
        link = f'Link: <http://elsewhere.example/rooms?after=r{number}>; rel="next"' if number < 2 else "X: y"
        asked.answer("200 OK", link, body=b'{"rooms":[' + row + b"]}")
    assert [room.room for room in calling.result(PATIENCE)] == ["r0", "r1", "r2"]


def test_endless_pages_of_rooms_are_refused(scripted: ScriptedServer, client: MakeClient) -> None:
    one = client(scripted.url.removesuffix("/events"), max_answer=100_000)
    calling = aside(one.rooms)
    row = b'{"room":"r","messages":1,"newest":null,"newest_at":null,"followers":0}'
    for number in range(20):
        body = b'{"rooms":[' + b",".join([row] * 100) + b"]}"
        asked = scripted.next()
        asked.answer("200 OK", f'Link: </rooms?after=r{number}>; rel="next"', body=body)
        if (number + 1) * len(body) > 100_000:
            break
    with pytest.raises(TooMuch):
        calling.result(PATIENCE)


def test_a_server_that_wants_no_pause_and_ends_each_stream_gets_one_request_per_pause(
    scripted: ScriptedServer, listen: Listen
) -> None:
    recorder = listen()
    for _ in range(3):
        scripted.next().begin().end("retry: 0\n\n")
        assert recorder.next_pause().seconds == 0.1


@pytest.mark.parametrize("retry", [0.0, 0.001, 5.0])
@pytest.mark.parametrize("max_delay", [0.0, 0.05, 60.0])
@pytest.mark.parametrize("error", [None, ConnectionError()])
def test_every_pause_has_a_floor(retry: float, max_delay: float, error: Exception | None) -> None:
    source = StreamState(retry=retry, max_delay=max_delay)
    for _ in range(50):
        assert source.ended(error).seconds >= max(min(0.1, max_delay), 0.01)


def test_a_server_that_wants_no_pause_does_not_keep_the_client_busy(
    scripted: ScriptedServer, listen: Listen
) -> None:
    answered = 0
    done = threading.Event()

    def serve() -> None:
        nonlocal answered
        with contextlib.suppress(OSError):
            while not done.is_set():
                scripted.next().begin().end("retry: 0\n\n")
                answered += 1

    serving = aside(serve)
    before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    recorder = listen()
    done.wait(1)
    done.set()
    recorder.close()
    scripted.close()
    serving.result(2 * PATIENCE)
    assert answered <= 12
    assert sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before < 1
