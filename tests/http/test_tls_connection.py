"""A follower's connection over TLS: its transport has a record at a time, and all else waits, shared."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from roomcast.delivery.budget import Budget
from roomcast.http.tls_connection import TlsConnection
from tests.http.test_connection import FakeStream, FakeTransport

RECORD = 16 * 1024


class Encrypting(FakeTransport):
    """A transport that is full after each write, until the test says otherwise."""

    connection: TlsConnection
    dies = False

    def write(self, data: Any) -> None:
        super().write(data)
        if self.dies:
            self.connection.abort()
        else:
            self.connection.pause_writing()


@pytest.fixture
def transport() -> Iterator[Encrypting]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Encrypting(ours)


@pytest.fixture
def budget() -> Budget:
    return Budget(1_000_000)


@pytest.fixture
def connection(transport: Encrypting, budget: Budget) -> TlsConnection:
    made = TlsConnection(budget, lambda: None)
    made.stream = FakeStream()
    made.take(transport)
    transport.connection = made
    return made


def told(connection: TlsConnection) -> list[str]:
    assert isinstance(connection.stream, FakeStream)
    return connection.stream.told


def test_the_transport_has_a_record_at_a_time_and_the_stream_goes_on_after_the_last(
    connection: TlsConnection, transport: Encrypting, budget: Budget
) -> None:
    data = b"x" * (2 * RECORD + 1)
    assert connection.write(data) is False
    assert (len(transport.written), connection.waiting(), budget.used) == (RECORD, RECORD + 1, len(data))
    connection.resume_writing()
    connection.resume_writing()
    assert (transport.written, told(connection)) == (data, [])
    connection.resume_writing()
    assert (told(connection), connection.writable, budget.used) == (["pump"], True, 0)


def test_the_last_bytes_are_sent_before_the_connection_is_closed(
    connection: TlsConnection, transport: Encrypting
) -> None:
    connection.write(b"x" * (RECORD + 1))
    connection.close(b"last")
    assert not transport.closed
    connection.resume_writing()
    assert not transport.closed
    connection.resume_writing()
    assert (transport.written[RECORD:], transport.closed) == (b"xlast", True)


def test_a_closed_connection_takes_nothing_and_has_nothing_waiting(
    connection: TlsConnection, transport: Encrypting
) -> None:
    connection.close(b"last")
    transport.waits = 5
    assert connection.write(b"late") is False
    assert connection.send(b"late") == 0
    assert connection.waiting() == 0
    assert transport.written == b"last"


def test_for_a_connection_that_is_just_lost_nothing_waits(
    connection: TlsConnection, transport: Encrypting, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.write(b"x" * (RECORD + 1))
    assert connection.waiting() > 0
    monkeypatch.setattr(transport, "get_extra_info", lambda name: None)
    assert connection.waiting() == 0


def test_a_write_that_closes_the_connection_is_the_last_one(
    connection: TlsConnection, transport: Encrypting, budget: Budget
) -> None:
    transport.dies = True
    assert connection.write(b"one") is False
    assert connection.write(b"two") is False
    assert (transport.written, transport.aborted, budget.used) == (b"one", True, 0)
