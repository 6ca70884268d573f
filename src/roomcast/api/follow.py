"""`GET /messages` as a stream: where it starts, and the way its connection is served."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from roomcast.api.query import After, Ago, Everything, Newest, Origin, Query, Since
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Gap, Opening, widened
from roomcast.delivery.replay import retry_delay_ms
from roomcast.delivery.stream import Connection, Stream
from roomcast.delivery.wire import wire
from roomcast.http.asgi import AsgiConnection
from roomcast.http.connection import SocketConnection
from roomcast.http.cors import Headers
from roomcast.http.http1 import TAKE_OVER
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import MessageId

_HEADERS = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))
_HTTP_1 = ("1.0", "1.1")


async def follow(engine: Engine, request: Request, query: Query, content_type: str) -> Response:
    """The stream, or for a client that cannot be served now the word to come back: an EventSource gives up
    for good on anything but 200."""
    if request.method == "HEAD":
        return _Empty(request, content_type)
    if engine.draining:
        return _away(engine, request, content_type, "drain")
    try:
        opening = await locate(engine, query.rooms, query.origin)
    except LogUnavailable:
        return _away(engine, request, content_type, "error")
    if len(engine.streams.active) >= engine.followers_limit:
        return _away(engine, request, content_type, "overload")
    headers = stream_headers(request.scope["http_version"], content_type)
    return Subscription(engine, query, opening, content_type, headers)


async def locate(engine: Engine, rooms: frozenset[str], origin: Origin) -> Opening:
    """Where a stream or page starts. Raises `LogUnavailable`."""
    engine.check()
    epoch = engine.hub.epoch
    opening = from_window(engine, rooms, origin)
    if opening is None:
        opening = await _from_log(engine, rooms, origin)
        await engine.tail.reached(opening.position)
    return opening._replace(epoch=epoch)


def from_window(engine: Engine, rooms: frozenset[str], origin: Origin) -> Opening | None:
    """Where a stream starts, if that can be told without the log, as it can for a crowd that reconnects."""
    hub = engine.hub
    match origin:
        case After(id):
            parsed = MessageId.parse(id)
            if parsed is None:
                return _start_over(engine, rooms, id, "malformed")
            if parsed.epoch != hub.epoch:
                return _start_over(engine, rooms, id, "epoch")
            return Opening(parsed.seq) if parsed.seq <= hub.position else None
        case Newest(limit):
            position = hub.seek_newest(rooms, limit)
            return None if position is None else Opening(position)
        case Everything():
            return Opening(hub.trimmed, exact=False)
    return None


async def _from_log(engine: Engine, rooms: frozenset[str], origin: Origin) -> Opening:
    match origin:
        case Since(moment):
            start = await engine.log.seek_time(rooms, moment)
            return Opening(start.position, widened(None, None, start.losses))
        case Ago(duration):
            return await _from_log(engine, rooms, Since(max(0, time.time_ns() // 1_000_000 - duration)))
        case Newest(limit):
            return Opening(await engine.log.seek_newest(rooms, limit))
        case After(id) if (parsed := MessageId.parse(id)) and parsed.seq <= (await engine.log.bounds()).newest:
            return Opening(parsed.seq)  # stored, and on its way here: the client has it from its own POST
        case After(id):
            return _start_over(engine, rooms, id, "future")
    raise AssertionError(origin)


def _start_over(engine: Engine, rooms: frozenset[str], id: str, reason: str) -> Opening:
    """An id that says nothing here: over everything retained, and a gap says why. The worst that can come of it
    is a message twice, under another id."""
    return Opening(engine.hub.trimmed, Gap(id, sorted(rooms), None, reason), exact=False)


class Subscription(Response):
    """A stream as an ASGI response: over the socket itself where the server offers it, else over `send`."""

    def __init__(
        self, engine: Engine, query: Query, opening: Opening, content_type: str, raw_headers: Headers
    ) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = raw_headers
        self._engine = engine
        self._query = query
        self._opening = opening
        self._content_type = content_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        take_over = scope.get("extensions", {}).get(TAKE_OVER)
        connection = SocketConnection()
        if take_over is None:
            await self._send(receive, send)
        elif take_over(connection):
            self.begin(connection, chunked=scope["http_version"] == "1.1")

    def begin(self, connection: SocketConnection, *, chunked: bool) -> None:
        """Streams over a connection that was taken over."""
        stream = connection.stream = self._stream(connection, chunked)
        self._attach(stream, _head((_date(int(time.time())), *self.raw_headers), chunked))

    async def _send(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        connection = AsgiConnection()
        stream = self._stream(connection, chunked=False)
        self._attach(stream, b"")
        await connection.run(stream, receive, send)

    def _stream(self, connection: Connection, chunked: bool) -> Stream:
        over = wire(self._content_type, chunked=chunked)
        return Stream(self._engine.streams, connection, self._query.rooms, over, self._opening)

    def _attach(self, stream: Stream, head: bytes) -> None:
        stream.attach(head)


def stream_headers(version: str, content_type: str) -> Headers:
    """What every stream is answered with."""
    return [
        (b"content-type", content_type.encode()),
        *_HEADERS,
        *([(b"connection", b"close")] if version in _HTTP_1 else ()),
    ]


@lru_cache(1)
def _date(now: int) -> tuple[bytes, bytes]:
    """RFC 9110, section 6.6.1."""
    return b"date", formatdate(now, usegmt=True).encode()


@lru_cache(64)
def _head(headers: tuple[tuple[bytes, bytes], ...], chunked: bool) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers]
    if chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    return b"HTTP/1.1 200 OK\r\n%b\r\n" % b"".join(lines)


class _Empty(Response):
    """The headers of a stream, which has no length."""

    def __init__(self, request: Request, content_type: str) -> None:
        super().__init__()
        self.raw_headers = stream_headers(request.scope["http_version"], content_type)


def _away(engine: Engine, request: Request, content_type: str, reason: str) -> Response:
    endings = engine.streams.endings
    endings[reason] = endings.get(reason, 0) + 1
    body = wire(content_type, chunked=False).retry(retry_delay_ms())
    response = Response(body)
    response.raw_headers[:] = [
        *stream_headers(request.scope["http_version"], content_type),
        (b"content-length", str(len(body)).encode()),
    ]
    return response
