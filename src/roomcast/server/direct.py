"""The two hot routes without ASGI: a plain publish, and a stream whose start is at hand.

A request through uvicorn's cycle, a task, Starlette's router, request and response costs several times what is
done with it. So the protocol asks here first. Only what is plain is taken; all else, and all that is wrong with
a follow, goes the way through ASGI. Both ways end in the same `publish.store` and `Subscription`.
"""

from __future__ import annotations

import logging
import time
from http import HTTPStatus

from starlette.responses import Response

from roomcast.errors import RoomcastError
from roomcast.server import access
from roomcast.server.cors import Cors
from roomcast.server.exchange import Head
from roomcast.server.lifecycle import Service
from roomcast.server.problem import problem
from roomcast.server.publish import Envelope, Stored, envelope, store
from roomcast.server.subscribe import Subscription, at_hand
from roomcast.wire import negotiate

_MAX_BODY = 64 * 1024
"""A larger body is read with uvicorn's flow control."""
_LINES = {int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}

logger = logging.getLogger("roomcast.server")


class Direct:
    """What the protocol asks of a service."""

    def __init__(self, service: Service, cors: Cors) -> None:
        self._service = service
        self._cors = cors
        self._max_body = min(_MAX_BODY, service.settings.max_body)

    def follow(self, query_string: bytes, head: Head, client: str) -> Subscription | None:
        service = self._service
        if service.draining or len(service.streams.active) >= service.followers_limit:
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
        subscription = Subscription(service, "1.1", query, opening, content_type)
        subscription.raw_headers += [(b"vary", b"Accept"), *self._cors.headers(_origin(head))]
        self._count("GET", b"/messages?" + query_string, client, 200, 0.0)
        return subscription

    def seal(self, head: Head) -> Envelope | None:
        length = head.get(b"content-length", b"")
        if not length.isdigit() or len(length) > 9 or int(length) > self._max_body:
            return None
        key = head.get(b"idempotency-key")
        encoding = head.get(b"content-encoding")
        try:
            return envelope(
                head.get(b"content-type", b"").decode("latin-1"),
                None if encoding is None else encoding.decode("latin-1"),
                () if key is None else (key.decode("latin-1"),),
            )
        except RoomcastError:
            return None

    async def publish(self, sealed: Envelope, head: Head, body: bytes, client: str, date: bytes) -> bytes:
        began = time.perf_counter()
        status, fields, content = await self._stored(sealed, body)
        cors = [b"%b: %b\r\n" % header for header in self._cors.headers(_origin(head))]
        self._count("POST", b"/messages", client, status, time.perf_counter() - began)
        return b"%b%b%b%b\r\n%b" % (_LINES[status], date, fields, b"".join(cors), content)

    async def _stored(self, sealed: Envelope, body: bytes) -> tuple[int, bytes, bytes]:
        """Status, header fields and content."""
        try:
            return _answer(await store(self._service, sealed, body))
        except RoomcastError as error:
            return _refusal(problem(error))
        except Exception:
            logger.exception("a publish failed")
            return _refusal(problem(RoomcastError("see the server's log")))

    def _count(self, method: str, target: bytes, client: str, status: int, seconds: float) -> None:
        self._service.requests[method, status] += 1
        if access.noted():
            access.note(client, method, target, status, seconds)


def _answer(stored: Stored) -> tuple[int, bytes, bytes]:
    fields = b"location: %b\r\ncontent-length: %d\r\ncontent-type: application/json\r\n"
    return stored.status, fields % (stored.location, len(stored.body)), stored.body


def _refusal(response: Response) -> tuple[int, bytes, bytes]:
    fields = b"".join([b"%b: %b\r\n" % header for header in response.raw_headers])
    return response.status_code, fields, bytes(response.body)


def _origin(head: Head) -> str | None:
    origin = head.get(b"origin")
    return None if origin is None else origin.decode("latin-1")
