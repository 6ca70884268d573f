"""The way in through somebody else's server: plain ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import aclosing
from functools import partial
from typing import Any
from urllib.parse import quote

from roomcast.api.request import TICKET, Answer, Field, Head, Outcome, Prepared, Request, Streaming
from roomcast.http import context as limits
from roomcast.http.asgi_sink import AsgiSink, Receive, Send
from roomcast.http.body import Body, too_slow
from roomcast.http.handler import Handler
from roomcast.http.heads import cut_ticket, divided
from roomcast.http.host import Host
from roomcast.model.errors import RoomcastError

Scope = MutableMapping[str, Any]
Values = Mapping[bytes, bytes]


class ClientGone(Exception):
    """The client went before its request was whole."""


class _Client:
    """Who is at the other end, as the host says."""

    def __init__(self, scope: Scope) -> None:
        self._client = scope.get("client")

    def address(self) -> str:
        return str(self._client[0]) if self._client else ""


class AsgiApp:
    """A handler, as an ASGI application for HTTP."""

    def __init__(self, handler: Handler, host: Host | None = None) -> None:
        """`host` is the login of the program around us; None where it has not said who may do what."""
        self._handler = handler
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head, values = _head(scope)
        prepared = self._handler.prepare(head)
        try:
            outcome = await self._outcome(scope, prepared, values, receive)
        except ClientGone:
            return
        if isinstance(outcome, Streaming):
            await _stream(scope, outcome, receive, send)
        else:
            await _answer(outcome, receive, send)

    async def _outcome(self, scope: Scope, prepared: Prepared, values: Values, receive: Receive) -> Outcome:
        request = Request(prepared, values, b"", _Client(scope))
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            route = prepared.route
            if self._host and route and self._host.knows(route, values):
                request.host = await self._host.identify(scope, prepared.head, values)
            request.body = await self._body(request, receive)
        except RoomcastError as error:
            self._handler.refuse(request, error, future.set_result)
            return await future
        task = self._handler.handle(request, partial(_resolve, future))
        try:
            return await future
        finally:
            if task:
                task.cancel()

    async def _body(self, request: Request, receive: Receive) -> bytes:
        """Raises `TooLarge` before `receive`, where a client that sent `Expect: 100-continue` has not sent the
        body yet, or while it arrives."""
        route = request.prepared.route
        if route is None or not route.takes_body:
            return b""
        self._handler.admit(request)
        body = Body(self._handler.max_body)
        body.expect(request.values.get(b"content-length", b""))
        try:
            async with asyncio.timeout(limits.BODY_SECONDS):
                async for chunk in _chunks(receive):
                    body.add(chunk)
        except TimeoutError:
            raise too_slow() from None
        return body.whole()


def _resolve(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():  # the host has cancelled us meanwhile
        future.set_result(outcome)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _head(scope: Scope) -> tuple[Head, dict[bytes, bytes]]:
    decides, own = divided(scope["headers"])
    mount, path, query = scope.get("root_path", ""), scope["path"], scope.get("query_string", b"")
    target = scope.get("raw_path") or quote(path).encode()
    if query:
        query, ticket = cut_ticket(b"?" + query)
        target, query = target + query, query[1:]
        if ticket is not None:
            own[TICKET] = ticket
    return Head(scope["method"], target, _below(mount, path), query, decides, mount), own


def _below(mount: str, path: str) -> str:
    """ASGI's `path` begins with `root_path`; some hosts leave it out."""
    rest = path.removeprefix(mount)
    return rest if not rest or rest.startswith("/") else path


async def _answer(answer: Answer, receive: Receive, send: Send) -> None:
    length: list[Field] = [] if answer.length is None else [(b"content-length", b"%d" % answer.length)]
    headers = [*answer.fields.pairs, *answer.cors.pairs, *answer.own, *length]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.pieces is None:
        await send({"type": "http.response.body", "body": answer.body})
        return
    async with aclosing(answer.pieces):
        async for piece in answer.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _stream(scope: Scope, streaming: Streaming, receive: Receive, send: Send) -> None:
    fields = [*streaming.fields.pairs, *streaming.cors.pairs]
    if scope.get("http_version", "1.1") in ("1.0", "1.1"):
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    sink = AsgiSink()
    streaming.begin(sink, b"", chunked=False)
    await sink.run(receive, send)
