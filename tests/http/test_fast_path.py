"""A connection on the fast path: bytes that come too early, clients that stop, and memory that others need."""

from __future__ import annotations

import pytest

from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.http.http1 import Http1
from tests.delivery.fakes import until
from tests.http.clients import PAGE, PUBLISH, Client, too_late


@pytest.fixture
async def connection(context: Context, client: Client) -> FastPath:
    made = FastPath(context)
    made.connection_made(client)
    return made


async def test_a_request_that_comes_before_the_answer_is_read_after_it(
    context: Context, connection: FastPath, client: Client
) -> None:
    connection.data_received(PAGE)
    connection.data_received(PUBLISH)
    assert not client.reading
    assert context.intake.held > len(PUBLISH)
    await until(lambda: client.written.count(b"HTTP/1.1 ") == 2)
    page, stored = client.written.split(b"HTTP/1.1 ")[1:]
    assert page.startswith(b"200")
    assert b'"messages":[]' in page
    assert stored.startswith(b"201")
    assert (client.reading, context.intake.held) == (True, 0)


async def test_a_request_under_way_does_not_expire(
    connection: FastPath, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.data_received(PAGE)
    too_late(monkeypatch)
    connection.expire()
    assert not client.is_closing()
    await until(lambda: client.written)


async def test_a_slow_body_goes_on_where_its_time_is_measured(
    connection: FastPath, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.data_received(PUBLISH[:-1])
    connection.expire()
    slow = client.protocol
    assert isinstance(slow, Http1)
    too_late(monkeypatch)
    slow.expire()
    await until(lambda: client.written)
    assert client.written.startswith(b"HTTP/1.1 408 ")
