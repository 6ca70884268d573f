"""A follower's connection over a transport of our own: what it writes to, and what it never touches again."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from roomcast.delivery.budget import Budget
from roomcast.delivery.stream import Stream
from roomcast.http.connection import SocketConnection, in_kernel


class FakeTransport(asyncio.Transport):
    """The part of a socket's transport that a connection uses; it keeps the written bytes."""

    def __init__(self, ours: socket.socket) -> None:
        super().__init__({"socket": ours})
        self.written = b""
        self.waits = 0
        self.closed = self.aborted = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.waits

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class FakeStream(Stream):
    """Records the calls of its connection."""

    __slots__ = ("told",)

    def __init__(self) -> None:
        self.told: list[str] = []

    def pump(self, head: bytes = b"") -> None:
        self.told.append("pump")

    def connection_lost(self, reason: str) -> None:
        self.told.append(reason)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end and the client's end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def transport(ends: tuple[socket.socket, socket.socket]) -> FakeTransport:
    return FakeTransport(ends[0])


@pytest.fixture
def connection(transport: FakeTransport) -> SocketConnection:
    """A connection that writes straight to its socket, as after its first write."""
    taken = SocketConnection(Budget(1_000_000))
    taken.stream = FakeStream()
    taken.take(transport)
    taken.write(b"head")
    taken.write(b"first")
    return taken


def received(theirs: socket.socket) -> bytes:
    try:
        return theirs.recv(1_000_000)
    except BlockingIOError:
        return b""


def told(connection: SocketConnection) -> list[str]:
    assert isinstance(connection.stream, FakeStream)
    return connection.stream.told


def test_the_first_write_goes_through_the_transport_and_later_ones_to_the_socket(
    connection: SocketConnection, transport: FakeTransport, ends: tuple[socket.socket, socket.socket]
) -> None:
    assert (transport.protocol, transport.high) == (connection, 0)
    assert transport.written == b"head"
    assert received(ends[1]) == b"first"
    assert connection.send(b"second") == 6
    assert received(ends[1]) == b"second"


ENDINGS: dict[str, Callable[[SocketConnection], None]] = {
    "closed": lambda connection: connection.close(b""),
    "aborted": SocketConnection.abort,
    "lost": lambda connection: connection.connection_lost(None),
    "lost by an error": lambda connection: connection.connection_lost(OSError()),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_connection_that_has_ended_never_touches_its_descriptor_again(
    connection: SocketConnection, ends: tuple[socket.socket, socket.socket], ending: str
) -> None:
    """By then another connection may have it: the kernel assigns the lowest free number."""
    received(ends[1])
    ENDINGS[ending](connection)
    stranger, hears = socket.socketpair()
    hears.setblocking(False)
    with stranger, hears:
        os.dup2(stranger.fileno(), ends[0].fileno())
        assert connection.send(b"for a stranger") == 0
        assert connection.write(b"for a stranger") is False
        assert connection.waiting() == 0
        connection.resume_writing()
        assert not connection.writable
        assert received(hears) == b""


def test_a_lost_connection_tells_its_stream_once_and_forgets_it(connection: SocketConnection) -> None:
    stream = connection.stream
    assert isinstance(stream, FakeStream)
    connection.connection_lost(None)
    connection.connection_lost(None)
    assert stream.told == ["client"]
    assert connection.stream is None


@pytest.mark.parametrize(
    ("error", "reason"), [(None, "client"), (ConnectionResetError(), "client"), (TimeoutError(), "slow")]
)
def test_a_client_that_the_kernel_gave_up_counts_as_slow(
    connection: SocketConnection, error: Exception | None, reason: str
) -> None:
    stream = connection.stream
    assert isinstance(stream, FakeStream)
    connection.connection_lost(error)
    assert stream.told == [reason]


def test_bytes_that_the_socket_does_not_take_wait_in_the_transport(
    connection: SocketConnection, transport: FakeTransport, ends: tuple[socket.socket, socket.socket]
) -> None:
    data = b"x" * 10_000_000
    connection.write(data)
    taken = len(received(ends[1]))
    assert 0 < taken < len(data)
    left = transport.written.removeprefix(b"head")
    assert len(left) < len(data)
    connection.pause_writing()
    transport.waits = len(left)
    assert not connection.writable
    assert connection.write(b"more") is False
    assert transport.written.endswith(b"more")
    assert connection.waiting() >= len(left)
    connection.resume_writing()
    assert connection.writable
    assert told(connection) == ["pump"]


def test_a_full_socket_does_not_end_the_stream(connection: SocketConnection, transport: FakeTransport) -> None:
    with suppress(BlockingIOError):
        while True:
            connection.send(b"x" * 65_536)
    assert connection.write(b"later") is True  # the transport has said nothing of it yet
    assert transport.written == b"headlater"
    assert not transport.aborted


def test_a_broken_socket_is_the_end(
    connection: SocketConnection, transport: FakeTransport, ends: tuple[socket.socket, socket.socket]
) -> None:
    ends[1].close()
    with pytest.raises(OSError, match="Broken pipe"):
        connection.send(b"x")
    assert connection.write(b"x") is False
    assert transport.aborted
    assert connection.send(b"x") == 0


def test_the_last_bytes_are_sent_before_the_end(
    connection: SocketConnection, transport: FakeTransport, ends: tuple[socket.socket, socket.socket]
) -> None:
    received(ends[1])
    connection.close(b"retry: 2000\n")
    assert received(ends[1]) == b"retry: 2000\n"
    assert transport.closed
    assert not transport.aborted


def test_a_transport_with_waiting_bytes_is_not_bypassed(
    transport: FakeTransport, ends: tuple[socket.socket, socket.socket]
) -> None:
    transport.waits = 10
    connection = SocketConnection(Budget(1_000_000))
    connection.take(transport)
    assert not connection.writable
    assert connection.write(b"head") is False
    assert connection.write(b"first") is False
    assert transport.written == b"headfirst"
    assert received(ends[1]) == b""


def test_bytes_in_the_kernel_count_as_waiting(
    connection: SocketConnection, ends: tuple[socket.socket, socket.socket]
) -> None:
    before = connection.waiting()
    received(ends[1])
    connection.write(b"x" * 5_000)
    after = connection.waiting()
    received(ends[1])
    assert (before > 0, after >= 5_000, connection.waiting()) == (True, True, 0)


def test_a_follower_for_whose_bytes_there_is_no_memory_is_cut_and_ends_as_overloaded(
    transport: FakeTransport,
) -> None:
    budget = Budget(1_000)
    budget.take(1)  # another answer's
    connection = SocketConnection(budget)
    stream = connection.stream = FakeStream()
    connection.take(transport)
    connection.pause_writing()
    assert connection.write(b"x" * 1_000) is False
    assert transport.aborted
    connection.connection_lost(None)
    assert (stream.told, budget.used) == (["overload"], 1)


def test_a_connection_without_a_stream_is_writable_once_its_client_has_read(transport: FakeTransport) -> None:
    connection = SocketConnection(Budget(1_000))
    connection.take(transport)
    connection.pause_writing()
    connection.resume_writing()
    assert connection.writable


def test_where_the_kernel_does_not_tell_nothing_counts_as_waiting(tmp_path: Path) -> None:
    with (tmp_path / "no socket").open("wb") as file:
        assert in_kernel(file.fileno()) == 0
