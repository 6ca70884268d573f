"""Answers as their clients read them: in pieces, as the last one, or none at all."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

import pytest

from roomcast.api.answer import Answer, HeaderFields, Pieces
from roomcast.http.connections import Connections
from roomcast.http.context import Context
from roomcast.http.exchange import Exchange
from roomcast.http.fast_path import FastPath
from roomcast.http.intake import Intake
from roomcast.model.settings import Settings
from tests.delivery.fakes import until
from tests.http.clients import LARGE, PUBLISH, Client, Transport

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
PAGE = b"GET /messages?room=a HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
DELETE = b"DELETE /rooms/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
STREAM = b"GET /messages?room=a&replay=none HTTP/1.1\r\nHost: localhost\r\n\r\n"


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


async def test_an_outcome_that_nobody_knows_cuts_the_connection_without_an_answer() -> None:
    connection, transport = One(cast(Context, Shared())), Transport()
    connection.connection_made(transport)
    connection._respond(Answer.none())
    assert (transport.aborted, transport.written) == (True, b"")


async def test_a_client_that_does_not_read_is_cut_when_there_is_no_memory_for_its_answer(context: Context) -> None:
    connection, client = FastPath(context), Client()
    connection.connection_made(client)
    context.handler.answers.limit = 0
    context.handler.answers.used = 1  # another answer's
    connection.data_received(HEALTH)
    connection.pause_writing()
    client.unread = 300
    await until(lambda: client.written)
    assert client.aborted


async def test_a_pending_answer_is_the_last_one_of_a_server_that_ends(context: Context) -> None:
    connection, client = FastPath(context), Client()
    connection.connection_made(client)
    connection.data_received(PAGE)
    connection.shutdown()
    assert not client.closed
    await until(lambda: client.closed)
    assert b"connection: close" in client.written


async def test_a_connection_without_a_request_is_closed_when_the_server_ends(context: Context) -> None:
    connection, client = FastPath(context), Client()
    connection.connection_made(client)
    connection.shutdown()
    assert client.closed


@pytest.mark.parametrize("request_", [LARGE, PUBLISH, DELETE], ids=["large publish", "publish", "delete"])
async def test_a_request_that_changes_the_log_is_answered_although_others_need_its_connection(
    context: Context, request_: bytes
) -> None:
    connection, client = FastPath(context), Client()
    connection.connection_made(client)
    connection.data_received(request_)
    assert not client.written
    newcomer = made_room(context)
    assert (client.aborted, newcomer.aborted) == (False, True)
    await until(lambda: client.written)
    assert client.written.startswith(b"HTTP/1.1 20")


async def test_a_read_is_cut_when_others_need_its_connection(context: Context) -> None:
    connection, client = FastPath(context), Client()
    connection.connection_made(client)
    connection.data_received(PAGE)
    newcomer = made_room(context)
    assert (client.aborted, newcomer.aborted) == (True, False)
    await until(lambda: connection._task is None)
    assert not client.written


def made_room(context: Context) -> Client:
    """A newcomer, for whom a server that takes one connection has closed another one or the newcomer's own."""
    context.connections.limit = 1
    newcomer = Client()
    FastPath(context).connection_made(newcomer)
    return newcomer


async def test_no_stream_begins_for_a_client_that_is_gone(context: Context) -> None:
    connection, client = FastPath(context), Client()
    connection.connection_made(client)
    client.closed = True
    connection.data_received(STREAM)
    assert (client.written, context.handler._engine.streams.opened) == (b"", 0)


async def test_no_stream_begins_for_a_client_that_ended_its_side_meanwhile(context: Context) -> None:
    connection, client = FastPath(context), Client()
    connection.connection_made(client)
    connection.data_received(STREAM.replace(b"replay=none", b"since=10m"))  # is looked up in the log
    assert connection.eof_received()
    await until(lambda: client.closed)
    assert (client.written, context.handler._engine.streams.opened) == (b"", 0)
