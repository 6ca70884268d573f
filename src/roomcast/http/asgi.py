"""The entry point for a host's server: plain ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, MutableMapping
from contextlib import aclosing
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import quote

from roomcast.api.answer import Answer, Field, Outcome, Streaming
from roomcast.api.request import TICKET, Head, PreparedHead, Request
from roomcast.delivery.budget import Budget
from roomcast.http import context as limits
from roomcast.http.asgi_sink import AsgiSink, Receive, Send
from roomcast.http.body import RequestBody, too_many, too_slow
from roomcast.http.handler import Handler
from roomcast.http.head_fields import MAX_FIELDS, cut_ticket, split_fields, too_many_fields
from roomcast.http.host_login import HostLogin
from roomcast.model.errors import RoomcastError

Scope = MutableMapping[str, Any]
Values = Mapping[bytes, bytes]


class _ClientGone(Exception):
    """The client disconnected before its request was complete."""


class _Client:
    """The other end of the connection, as the host's server reports it."""

    def __init__(self, scope: Scope) -> None:
        self._client = scope.get("client")
        self._scheme = str(scope.get("scheme", "http"))

    def address(self) -> str:
        return str(self._client[0]) if self._client else ""

    def scheme(self) -> str:
        return self._scheme


class AsgiApp:
    """A handler, as an ASGI application for HTTP."""

    def __init__(self, handler: Handler, host: HostLogin | None = None) -> None:
        """`host` is the login of the host application; None if it gives none."""
        self._handler = handler
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fields = list(islice(scope["headers"], MAX_FIELDS + 1))
        head, values = _head(scope, fields)
        prepared = self._handler.prepare(head)
        if len(fields) > MAX_FIELDS:
            prepared = prepared._replace(route=None, refused=too_many_fields())
        try:
            outcome = await self._outcome(scope, prepared, values, receive)
        except _ClientGone:
            return
        if isinstance(outcome, Streaming):
            await _stream(scope, outcome, self._handler.answers, receive, send)
        else:
            await _answer(outcome, receive, send)

    async def _outcome(self, scope: Scope, prepared: PreparedHead, values: Values, receive: Receive) -> Outcome:
        request = Request(prepared, values, b"", _Client(scope))
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            route = prepared.route
            if self._host and route and self._host.decides(route, values):
                request.host = await self._host.identify(scope, prepared.head, values)
            request.body = await self._body(request, receive)
        except RoomcastError as error:
            task = self._handler.refuse(request, error, partial(_resolve, future))
        else:
            task = self._handler.handle(request, partial(_resolve, future))
        try:
            return await future
        finally:
            if task:
                task.cancel()

    async def _body(self, request: Request, receive: Receive) -> bytes:
        """The request's body. Raises `TooLarge` while the body is received. If the `Content-Length` is too large,
        raises it before the first `receive`: a client that sent `Expect: 100-continue` has sent no body yet."""
        route = request.prepared.route
        if route is None or not route.takes_body:
            return b""
        self._handler.admit(request)
        body = RequestBody(self._handler.max_body)
        body.expect(request.values.get(b"content-length", b""))
        sender = _Sender()
        try:
            async with asyncio.timeout(limits.BODY_SECONDS) as sender.patience:
                async for chunk in _chunks(receive):
                    body.add(chunk)
                    self._handler.intake.hold(sender, body.held)
        except TimeoutError:
            raise too_many() if sender.is_shed else too_slow() from None
        finally:
            self._handler.intake.hold(sender, 0)
        return body.whole()


class _Sender:
    """A body that is being received."""

    patience: asyncio.Timeout

    def __init__(self) -> None:
        self.is_shed = False

    def shed(self) -> None:
        self.is_shed = True
        self.patience.reschedule(asyncio.get_running_loop().time())


def _resolve(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():  # done if the host has cancelled us
        future.set_result(outcome)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _head(scope: Scope, fields: Iterable[Field]) -> tuple[Head, dict[bytes, bytes]]:
    decides, own = split_fields(fields)
    mount, path, query = scope.get("root_path", ""), scope["path"], scope.get("query_string", b"")
    target = scope.get("raw_path") or quote(path).encode()
    if query:
        query, ticket = cut_ticket(b"?" + query)
        target, query = target + query, query[1:]
        if ticket is not None:
            own[TICKET] = ticket
    return Head(scope["method"], target, _below(mount, path), query, decides, mount), own


def _below(mount: str, path: str) -> str:
    """The path relative to the mount. ASGI's `path` begins with `root_path`; some hosts leave it out."""
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


async def _stream(scope: Scope, streaming: Streaming, answers: Budget, receive: Receive, send: Send) -> None:
    fields = [*streaming.fields.pairs, *streaming.cors.pairs]
    if scope.get("http_version", "1.1") in ("1.0", "1.1"):
        fields.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    sink = AsgiSink(answers)
    streaming.begin(sink, b"", chunked=False)
    await sink.run(receive, send)
