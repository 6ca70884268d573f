"""Connections on the fast path and those that h11 reads: their limits of time, and memory that others need."""

from __future__ import annotations

import pytest

from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.http.http1 import Http1
from tests.delivery.fakes import until
from tests.http.clients import LARGE, PAGE, PUBLISH, Client, too_late


@pytest.fixture(params=[FastPath, Http1])
async def connection(context: Context, client: Client, request: pytest.FixtureRequest) -> FastPath | Http1:
    made: FastPath | Http1 = request.param(context)
    made.connection_made(client)
    return made


def is_idle(connection: FastPath | Http1) -> bool:
    return not isinstance(connection, Http1) or connection._request is None


async def test_the_body_of_the_slowest_client_is_refused_when_others_need_the_memory(
    context: Context, connection: FastPath | Http1, client: Client
) -> None:
    connection.data_received(PUBLISH[:-1])
    connection.shed()
    await until(lambda: client.closed)
    assert client.written.startswith(b"HTTP/1.1 503 ")
    assert b"came slowest" in client.written


async def test_a_request_under_way_gets_the_last_answer_when_others_need_the_memory_of_those_behind_it(
    connection: FastPath | Http1, client: Client
) -> None:
    connection.data_received(LARGE)
    connection.data_received(PUBLISH)
    connection.shed()
    assert not client.aborted
    await until(lambda: client.closed)
    assert client.written.startswith(b"HTTP/1.1 201 ")
    assert client.written.count(b"HTTP/1.1 ") == 1


async def test_a_client_that_does_not_read_its_answer_is_cut_when_others_need_the_memory(
    connection: FastPath | Http1, client: Client
) -> None:
    connection.data_received(PAGE)
    connection.data_received(PUBLISH)
    connection.pause_writing()
    connection.shed()
    assert client.aborted


async def test_a_connection_that_is_not_used_for_too_long_is_closed(
    context: Context, connection: FastPath | Http1, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.data_received(PUBLISH)
    await until(lambda: client.written and is_idle(connection))
    connection.expire()
    assert not client.closed
    too_late(monkeypatch)
    connection.expire()
    assert client.closed
    assert context.handler._engine.closed["idle"] == 1


async def test_a_client_that_does_not_read_its_answer_is_cut(
    context: Context, connection: FastPath | Http1, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.data_received(PUBLISH)
    await until(lambda: client.written)
    connection.pause_writing()
    connection.expire()
    assert not client.aborted
    too_late(monkeypatch)
    connection.expire()
    assert client.aborted
    assert context.handler._engine.closed["answer"] == 1
