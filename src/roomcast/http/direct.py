"""The two hot routes without ASGI: a plain publish, and a stream whose start is at hand.

Only what is plain is taken; all else, and all that is wrong with a follow, goes the way through ASGI. Both ways
end in the same `publish.submit` and `Subscription`.
"""

from __future__ import annotations

import logging
import time
from asyncio import Future
from collections.abc import Callable
from functools import lru_cache, partial
from http import HTTPStatus
from typing import NamedTuple

from roomcast.api import query as queries
from roomcast.api.follow import Subscription, from_window, stream_headers
from roomcast.api.publish import Envelope, envelope, stored, submit
from roomcast.delivery.engine import Engine
from roomcast.http import access
from roomcast.http.cors import Cors, Headers
from roomcast.http.head import Head, parse
from roomcast.http.problem import problem
from roomcast.log.base import Appended
from roomcast.model.errors import RoomcastError

Respond = Callable[[bytes, bytes, bytes], None]
"""Takes an answer: its status as `201 Created`, its header fields as lines, its content."""

_STATUS = {int(status): b"%d %b" % (status, status.phrase.encode()) for status in HTTPStatus}
_FOLLOW = b"/messages?"
_KNOWN = 256
"""Heads that are remembered, with what they ask for."""
_KNOWN_BYTES = 4 * 1024
"""The longest of them, so that they take a few MB at most."""

logger = logging.getLogger("roomcast.server")


class Publish(NamedTuple):
    """A plain publish, as its head asks for it."""

    envelope: Envelope
    length: int
    """Bytes of the body."""
    keep_alive: bool
    cors: bytes
    """Header fields of the answer, as lines."""


class Follow(NamedTuple):
    """A plain follow, as its head asks for it."""

    query: queries.Query
    content_type: str
    headers: Headers
    """Of the answer."""
    target: bytes
    length: int = 0
    """It has no body."""


class Direct:
    """What a connection's protocol asks of a engine."""

    def __init__(self, engine: Engine, cors: Cors) -> None:
        self._engine = engine
        self._cors_lines = lru_cache(64)(lambda origin: _lines(cors.headers(_text(origin))))
        self._stream_headers = lru_cache(64)(partial(_stream_headers, cors))
        self._known = lru_cache(_KNOWN)(self._understood)
        self.notes = access.noted()
        """Whether requests are written down, and so whether it is to be known who asks."""

    def plain(self, head: bytes) -> Publish | Follow | None:
        """What a request's head asks for; None where that is not one of the hot routes, or not plain."""
        return self._known(head) if len(head) <= _KNOWN_BYTES else self._understood(head)

    def _understood(self, data: bytes) -> Publish | Follow | None:
        head = parse(data)
        if head is None:
            return None
        try:
            if head.method == b"POST" and head.target == b"/messages":
                return self._publish(head)
            if head.method == b"GET" and head.target.startswith(_FOLLOW):
                return self._follow(head)
        except RoomcastError:
            pass
        return None

    def _publish(self, head: Head) -> Publish | None:
        fields = head.fields
        if head.length > self._engine.settings.max_body:
            return None
        sealed = envelope(
            fields.get(b"content-type", b"").decode("latin-1"),
            _text(fields.get(b"content-encoding")),
            [key.decode("latin-1") for key in [fields.get(b"idempotency-key")] if key is not None],
        )
        return Publish(sealed, head.length, head.keep_alive, self._cors_lines(fields.get(b"origin")))

    def _follow(self, head: Head) -> Follow | None:
        fields = head.fields
        content_type = queries.preferred(fields.get(b"accept", b"").decode("latin-1"))
        if content_type == queries.PAGE or b"content-length" in fields:
            return None
        last_event_id = fields.get(b"last-event-id", b"").decode(errors="replace")
        query = queries.query(head.target[len(_FOLLOW) :], last_event_id)
        return Follow(query, content_type, self._stream_headers(content_type, fields.get(b"origin")), head.target)

    def follow(self, asked: Follow, client: str) -> Subscription | None:
        """The stream that is asked for; None where that takes more than a look into memory."""
        engine = self._engine
        if engine.draining or not engine.hub.epoch or len(engine.streams.active) >= engine.followers_limit:
            return None
        opening = from_window(engine, asked.query.rooms, asked.query.origin)
        if opening is None:
            return None
        engine.requests["GET", 200] += 1
        if self.notes:
            access.note(client, "GET", asked.target, 200, 0.0)
        return Subscription(engine, asked.query, opening, asked.content_type, asked.headers)

    def publish(self, asked: Publish, body: bytes, client: str, respond: Respond) -> None:
        """Stores what the body says, and calls `respond`: at once, or when it is durable."""
        began = time.perf_counter()
        try:
            appending, batch = submit(self._engine, asked.envelope, body)
        except Exception as error:
            self._respond(began, asked, client, respond, *_refusal(error))
            return
        if appending.done():
            self._finish(began, asked, client, respond, batch, appending)
        else:
            appending.add_done_callback(partial(self._finish, began, asked, client, respond, batch))

    def _finish(
        self,
        began: float,
        asked: Publish,
        client: str,
        respond: Respond,
        batch: bool,
        appending: Future[Appended],
    ) -> None:
        try:
            status, id, content = stored(self._engine, appending, batch, began)
        except Exception as error:
            self._respond(began, asked, client, respond, *_refusal(error))
            return
        fields = b"location: /messages/%b\r\ncontent-length: %d\r\ncontent-type: application/json\r\n"
        self._respond(began, asked, client, respond, status, fields % (id, len(content)), content)

    def _respond(
        self,
        began: float,
        asked: Publish,
        client: str,
        respond: Respond,
        status: int,
        fields: bytes,
        content: bytes,
    ) -> None:
        self._engine.requests["POST", status] += 1
        if self.notes:
            access.note(client, "POST", b"/messages", status, time.perf_counter() - began)
        respond(_STATUS[status], fields + asked.cors, content)


def _refusal(error: Exception) -> tuple[int, bytes, bytes]:
    if not isinstance(error, RoomcastError):
        logger.error("a publish failed", exc_info=error)
        error = RoomcastError("see the server's log")
    response = problem(error)
    return response.status_code, _lines(response.raw_headers), bytes(response.body)


def _stream_headers(cors: Cors, content_type: str, origin: bytes | None) -> Headers:
    return [*stream_headers("1.1", content_type), (b"vary", b"Accept"), *cors.headers(_text(origin))]


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
