"""Answers in pieces: made as the client takes them, and cut where they cannot be made."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import pytest

from roomcast.api.request import Answer, HeaderFields, Pieces
from roomcast.http.connections import Connections
from roomcast.http.context import Context
from roomcast.http.exchange import Exchange
from roomcast.http.intake import Intake
from roomcast.model.settings import Settings
from tests.delivery.fakes import until


class Transport(asyncio.Transport):
    """A transport that keeps the written bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Shared:
    """The part of a context that a connection uses."""

    def __init__(self) -> None:
        self.connections = Connections(Settings(), Counter())
        self.intake = Intake(1, Counter())


class One(Exchange):
    """A connection with one answer."""

    def _go_on(self) -> None: ...

    def expire(self) -> None: ...

    def shed(self) -> None: ...


async def begun(pieces: Pieces) -> tuple[One, Transport]:
    connection, transport = One(cast(Context, Shared())), Transport()
    connection.connection_made(transport)
    connection._respond(Answer.of_pieces(200, HeaderFields(), pieces))
    return connection, transport


async def test_a_piece_is_made_when_the_client_has_read_the_one_before() -> None:
    made: list[int] = []

    async def pieces() -> Pieces:
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    connection, transport = await begun(pieces())
    connection.pause_writing()
    await until(lambda: made == [0])
    for _ in range(10):
        await asyncio.sleep(0)
    assert made == [0]
    connection.resume_writing()
    await until(lambda: transport.written.endswith(b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n"))
    assert not transport.closed


async def test_an_answer_that_fails_halfway_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async def pieces() -> Pieces:
        yield b"one"
        raise RuntimeError("the log is away")

    _, transport = await begun(pieces())
    await until(lambda: transport.aborted)
    assert not transport.written.endswith(b"0\r\n\r\n")
    assert "an answer was cut" in caplog.text


async def test_no_more_pieces_are_made_for_a_client_that_disconnected() -> None:
    ended = asyncio.Event()

    async def pieces() -> Pieces:
        try:
            while True:
                yield b"more"
        finally:
            ended.set()

    connection, transport = await begun(pieces())
    connection.pause_writing()
    await until(lambda: b"more" in transport.written)
    transport.closed = True
    connection.connection_lost(None)
    await asyncio.wait_for(ended.wait(), 5)
