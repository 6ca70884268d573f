"""The two hot routes without ASGI: a plain publish, and a stream whose start is at hand.

Only what is plain is taken; all else, and all that is wrong with a follow, goes the way through ASGI. Both ways
end in the same `publish.submit` and `Subscription`.
"""

from __future__ import annotations

import logging
import time
from asyncio import Future
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from http import HTTPStatus

from roomcast.errors import RoomcastError
from roomcast.log.base import Appended
from roomcast.server import access
from roomcast.server.cors import Cors, Headers
from roomcast.server.lifecycle import Service
from roomcast.server.problem import problem
from roomcast.server.publish import Envelope, envelope, stored, submit
from roomcast.server.subscribe import Subscription, at_hand, stream_headers
from roomcast.wire import negotiate

Head = Mapping[bytes, bytes]
"""A request's header fields, none of them given twice."""
Respond = Callable[[bytes, bytes, bytes], None]
"""Takes an answer: its status as `201 Created`, its header fields as lines, its content."""

_STATUS = {int(status): b"%d %b" % (status, status.phrase.encode()) for status in HTTPStatus}

logger = logging.getLogger("roomcast.server")


class Direct:
    """What a connection's protocol asks of a service."""

    def __init__(self, service: Service, cors: Cors) -> None:
        self._service = service
        self._cors_lines = lru_cache(64)(lambda origin: _lines(cors.headers(_text(origin))))
        self._stream_headers = lru_cache(64)(partial(_stream_headers, cors))
        self._max_body = service.settings.max_body
        self.notes = access.noted()
        """Whether requests are written down, and so whether it is to be known who asks."""

    def follow(self, query_string: bytes, head: Head, client: str) -> Subscription | None:
        """The stream that is asked for; None where that takes more than a look into memory."""
        service = self._service
        if service.draining or not service.hub.epoch or len(service.streams.active) >= service.followers_limit:
            return None
        try:
            content_type = negotiate.preferred(head.get(b"accept", b"").decode("latin-1"))
            last_event_id = head.get(b"last-event-id", b"").decode(errors="replace")
            query = negotiate.query(query_string, last_event_id)
        except RoomcastError:
            return None
        opening = None if content_type == negotiate.PAGE else at_hand(service, query.rooms, query.origin)
        if opening is None:
            return None
        service.requests["GET", 200] += 1
        if self.notes:
            access.note(client, "GET", b"/messages?" + query_string, 200, 0.0)
        return Subscription(
            service, query, opening, content_type, self._stream_headers(content_type, head.get(b"origin"))
        )

    def seal(self, head: Head) -> Envelope | None:
        """What the headers of a publish say of its body; None where it is not plain."""
        if int(head.get(b"content-length", b"0")) > self._max_body:
            return None
        try:
            return _sealed(
                head.get(b"content-type", b""), head.get(b"content-encoding"), head.get(b"idempotency-key")
            )
        except RoomcastError:
            return None

    def publish(self, sealed: Envelope, head: Head, body: bytes, client: str, respond: Respond) -> None:
        """Stores what the body says, and calls `respond`: at once, or when it is durable."""
        began = time.perf_counter()
        origin = head.get(b"origin")
        try:
            appending, batch = submit(self._service, sealed, body)
        except Exception as error:
            self._respond(began, origin, client, respond, *_refusal(error))
            return
        if appending.done():
            self._finish(began, origin, client, respond, batch, appending)
        else:
            appending.add_done_callback(partial(self._finish, began, origin, client, respond, batch))

    def _finish(
        self,
        began: float,
        origin: bytes | None,
        client: str,
        respond: Respond,
        batch: bool,
        appending: Future[Appended],
    ) -> None:
        try:
            status, id, content = stored(self._service, appending, batch, began)
        except Exception as error:
            self._respond(began, origin, client, respond, *_refusal(error))
            return
        fields = b"location: /messages/%b\r\ncontent-length: %d\r\ncontent-type: application/json\r\n"
        self._respond(began, origin, client, respond, status, fields % (id, len(content)), content)

    def _respond(
        self,
        began: float,
        origin: bytes | None,
        client: str,
        respond: Respond,
        status: int,
        fields: bytes,
        content: bytes,
    ) -> None:
        self._service.requests["POST", status] += 1
        if self.notes:
            access.note(client, "POST", b"/messages", status, time.perf_counter() - began)
        respond(_STATUS[status], fields + self._cors_lines(origin), content)


def _refusal(error: Exception) -> tuple[int, bytes, bytes]:
    if not isinstance(error, RoomcastError):
        logger.error("a publish failed", exc_info=error)
        error = RoomcastError("see the server's log")
    response = problem(error)
    return response.status_code, _lines(response.raw_headers), bytes(response.body)


@lru_cache(64)
def _sealed(content_type: bytes, content_encoding: bytes | None, key: bytes | None) -> Envelope:
    return envelope(
        content_type.decode("latin-1"),
        _text(content_encoding),
        () if key is None else (key.decode("latin-1"),),
    )


def _stream_headers(cors: Cors, content_type: str, origin: bytes | None) -> Headers:
    return [*stream_headers("1.1", content_type), (b"vary", b"Accept"), *cors.headers(_text(origin))]


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
