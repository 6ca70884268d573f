"""A connection that h11 reads: steps that take too long, and memory that others need."""

from __future__ import annotations

import pytest

from roomcast.http.context import Context
from roomcast.http.http1 import Http1
from tests.delivery.fakes import until
from tests.http.clients import BODY, PAGE, PUBLISH, Client, too_late

HEAD = PUBLISH.removesuffix(BODY)
WITH_BODY = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
"""A request whose route takes no body. It is answered before its body has arrived."""


@pytest.fixture
async def connection(context: Context, client: Client) -> Http1:
    made = Http1(context)
    made.connection_made(client)
    return made


async def test_a_client_without_a_body_is_cut_when_others_need_the_memory(
    connection: Http1, client: Client
) -> None:
    connection.data_received(HEAD[:-4])
    connection.shed()
    assert client.aborted


async def test_a_slow_head_ends_its_connection(
    context: Context, connection: Http1, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.data_received(HEAD[:-4])
    connection.expire()
    assert not client.closed
    too_late(monkeypatch)
    connection.expire()
    assert (client.closed, context.handler._engine.closed["head"]) == (True, 1)


async def test_the_rest_of_an_answered_request_is_not_awaited_for_ever(
    connection: Http1, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.data_received(WITH_BODY)
    await until(lambda: client.written)
    connection.expire()
    assert not client.closed
    too_late(monkeypatch)
    connection.expire()
    assert client.closed


async def test_a_client_that_does_not_read_its_answer_is_not_read_from(connection: Http1, client: Client) -> None:
    connection.data_received(PUBLISH)
    await until(lambda: client.written and connection._request is None)
    connection.pause_writing()
    connection.data_received(HEAD)  # was on its way
    assert not client.reading
    connection.resume_writing()
    connection.data_received(BODY)
    await until(lambda: client.written.count(b"HTTP/1.1 201 ") == 2 and client.reading)


async def test_bytes_that_are_not_http_after_an_answer_end_the_connection_without_another(
    connection: Http1, client: Client
) -> None:
    connection.data_received(WITH_BODY.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked"))
    await until(lambda: client.written)
    connection.data_received(b"not a chunk\r\n")
    await until(lambda: client.closed)
    assert client.written.count(b"HTTP/1.1 ") == 1


async def test_bytes_that_are_not_http_while_a_request_is_answered_do_not_cost_it_its_answer(
    connection: Http1, client: Client
) -> None:
    chunked = PAGE.replace(b"Host: localhost", b"Host: localhost\r\nTransfer-Encoding: chunked")
    connection.data_received(chunked + b"not a chunk\r\n")
    assert not client.closed
    await until(lambda: client.closed)
    assert b"200 OK" in client.written
    assert client.written.count(b"HTTP/1.1 ") == 1


async def test_a_client_that_ends_its_side_between_two_requests_is_closed(
    connection: Http1, client: Client
) -> None:
    connection.data_received(PUBLISH)
    await until(lambda: client.written and connection._request is None)
    assert not connection.eof_received()
    assert client.closed
