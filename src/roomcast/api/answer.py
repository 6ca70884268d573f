"""The types of an answer: one that ends, a stream, and one that is ready later.

No sockets, no ASGI, and of HTTP's bytes only header lines. The three entry points (the fast path, h11, ASGI) write
an `Answer`, or serve a `Streaming`.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, NamedTuple

from roomcast.delivery.budget import Reservation
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening
from roomcast.delivery.stream import Connection, FollowerDetails, Stream
from roomcast.delivery.stream_limits import StreamLimit
from roomcast.delivery.tenure import Holder
from roomcast.delivery.wire import wire
from roomcast.model.rooms import Selection

Pieces = AsyncGenerator[bytes, None]
"""Generates a body as fast as the client reads it. No piece is empty."""
Field = tuple[bytes, bytes]
"""A header field: its name in lower case, and its value."""

_WITHOUT_BODY = (204, 304)
"""Statuses of answers without a body (RFC 9110, section 6.4.1)."""


class HeaderFields:
    """Header fields that many answers share, also encoded as HTTP/1 lines."""

    __slots__ = ("lines", "pairs")

    def __init__(self, *pairs: Field) -> None:
        self.pairs = pairs
        self.lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])


NO_FIELDS = HeaderFields()
JSON = HeaderFields((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


class Answer:
    """A response that ends."""

    __slots__ = ("body", "closing", "cors", "fields", "length", "own", "pieces", "reservation", "status")

    def __init__(self, status: int, fields: HeaderFields, body: bytes = b"", own: Sequence[Field] = ()) -> None:
        self.status = status
        self.fields = fields
        """Header fields that it shares with other answers."""
        self.body = body
        self.own = own
        """Header fields of this answer alone."""
        self.length = None if status in _WITHOUT_BODY else len(body)
        """The `Content-Length`; None if none is sent."""
        self.pieces: Pieces | None = None
        """Generates a body of unknown length, as fast as the client reads it."""
        self.closing = False
        """Whether the connection is closed after it."""
        self.reservation: Reservation | None = None
        """The memory reserved for its body until the client has read it."""
        self.cors = NO_FIELDS
        """The CORS fields; set by the handler."""

    @classmethod
    def of_pieces(cls, status: int, fields: HeaderFields, pieces: Pieces, own: Sequence[Field] = ()) -> Answer:
        """An answer whose body `pieces` generates as fast as the client reads it. `status`, `fields` and `own` are
        as in other answers."""
        answer = cls(status, fields, b"", own)
        answer.pieces, answer.length = pieces, None
        return answer

    @classmethod
    def none(cls) -> Answer:
        """No answer: the connection is cut, as when a server dies. For an unknown outcome: any status could be
        wrong."""
        return cls(0, NO_FIELDS).last()

    def last(self) -> Answer:
        """The same answer, after which the connection is closed."""
        self.closing = True
        return self


class Streaming:
    """A stream that is ready to begin; the entry point gives it a sink."""

    __slots__ = (
        "_content_type",
        "_engine",
        "_epoch",
        "_holder",
        "_limit",
        "_opening",
        "_replaces",
        "_selection",
        "cors",
        "details",
        "fields",
    )
    status = 200

    def __init__(
        self,
        engine: Engine,
        selection: Selection,
        opening: Opening,
        content_type: str,
        fields: HeaderFields,
        holder: Holder | None = None,
        limit: StreamLimit | None = None,
        *,
        replaces: bool = False,
    ) -> None:
        """The stream goes on while `holder` has the right to it, and `limit` counts it. With `replaces`, the
        holder's older stream ends."""
        self._engine = engine
        self._holder = holder
        self._replaces = replaces
        self._limit = limit
        self._epoch = engine.hub.epoch
        """The epoch in which `opening` was found."""
        self._selection = selection
        self._opening = opening
        self._content_type = content_type
        self.fields = fields
        self.cors = NO_FIELDS
        self.details: FollowerDetails | None = None
        """The follower; set by the handler."""

    def begin(self, connection: Connection, head: bytes, *, chunked: bool) -> None:
        """Streams into `connection`; the first write begins with `head`. If `chunked`, each write is a chunk
        (RFC 9112, section 7.1)."""
        over = wire(self._content_type, chunked=chunked)
        opening = self._opening
        # Under ASGI, the epoch may have changed while the host's server sent the head.
        if opening.epoch is None and self._epoch != self._engine.hub.epoch:
            opening = opening._replace(epoch=self._epoch)
        streams, holder = self._engine.streams, self._holder
        stream = Stream(streams, connection, self._selection, over, opening, holder, self._limit)
        stream.details = self.details
        connection.stream = stream
        stream.attach(head, replaces=self._replaces)


class PendingAnswer(NamedTuple):
    """An answer that is ready when `future` is done. Not a coroutine: a task for each publish would cost more than
    most of the publish's own work."""

    future: Future[Any]
    answer: Callable[[Future[Any]], Answer]
    """Makes the answer. Raises the exception of `future`."""


Outcome = Answer | Streaming
