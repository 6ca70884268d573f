"""A connection on the fast path: bytes that come too early, clients that stop, and memory that others need."""

from __future__ import annotations

import pytest

from roomcast.http import context as limits
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.http.http1 import Http1
from tests.delivery.fakes import until
from tests.http.clients import Client

BODY = b'{"room": "a", "text": "x"}'
PUBLISH = (
    b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n"
    + BODY
)
LARGE = PUBLISH.replace(b": 26", b": %d" % (26 + 9000)).replace(b'"x"', b'"%s"' % (b"x" * 9001))
"""A publish that is parsed in several turns of the loop."""
PAGE = b"GET /messages?room=a HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
async def connection(context: Context, client: Client) -> FastPath:
    made = FastPath(context)
    made.connection_made(client)
    return made


def too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on each step has taken too long."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "IDLE_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(limits, name, -1.0)


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


async def test_the_body_of_the_slowest_client_is_refused_when_others_need_the_memory(
    context: Context, connection: FastPath, client: Client
) -> None:
    connection.data_received(PUBLISH[:-1])
    connection.shed()
    await until(lambda: client.closed)
    assert client.written.startswith(b"HTTP/1.1 503 ")
    assert b"came slowest" in client.written


async def test_a_request_under_way_gets_the_last_answer_when_others_need_the_memory_of_those_behind_it(
    connection: FastPath, client: Client
) -> None:
    connection.data_received(LARGE)
    connection.data_received(PUBLISH)
    connection.shed()
    assert not client.aborted
    await until(lambda: client.closed)
    assert client.written.startswith(b"HTTP/1.1 201 ")
    assert client.written.count(b"HTTP/1.1 ") == 1


async def test_a_client_that_does_not_read_its_answer_is_cut_when_others_need_the_memory(
    connection: FastPath, client: Client
) -> None:
    connection.data_received(PAGE)
    connection.data_received(PUBLISH)
    connection.pause_writing()
    connection.shed()
    assert client.aborted


async def test_a_connection_that_is_not_used_for_too_long_is_closed(
    context: Context, connection: FastPath, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.data_received(PUBLISH)
    await until(lambda: client.written)
    connection.expire()
    assert not client.closed
    too_late(monkeypatch)
    connection.expire()
    assert client.closed
    assert context.handler._engine.closed["idle"] == 1


async def test_a_client_that_does_not_read_its_answer_is_cut(
    context: Context, connection: FastPath, client: Client, monkeypatch: pytest.MonkeyPatch
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
