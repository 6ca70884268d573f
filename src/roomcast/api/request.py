"""The types of the request path: a handler's input and output.

No sockets, no ASGI, no bytes of HTTP. Three entry points (the fast path, h11, ASGI) make a `Request` and write an
`Answer` or serve a `Streaming`; they differ only in the bytes.
"""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

from roomcast.auth.guard import NO_GUARD
from roomcast.auth.principal import NOBODY, Principal, Verb
from roomcast.delivery.budget import Reservation
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening
from roomcast.delivery.stream import Connection, FollowerDetails, Stream
from roomcast.delivery.stream_limits import StreamLimit
from roomcast.delivery.tenure import Holder
from roomcast.delivery.wire import wire
from roomcast.model.errors import RoomcastError
from roomcast.model.rooms import Selection

Pieces = AsyncGenerator[bytes, None]
"""Generates a body as fast as the client reads it. No piece is empty."""
Field = tuple[bytes, bytes]
"""A header field: its name in lower case, and its value."""

UNIX_ADDRESS = "unix"
"""The address of every client that is connected to the socket file."""
_WITHOUT_BODY = (204, 304)
TICKET: Final = b"?ticket"
"""The name in `Request.values` of the ticket that was cut out of the query."""
NO_VALUES: Mapping[bytes, bytes] = {}


class HeaderFields:
    """Header fields that many answers share, also encoded as HTTP/1 lines."""

    __slots__ = ("lines", "pairs")

    def __init__(self, *pairs: Field) -> None:
        self.pairs = pairs
        self.lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])


NO_FIELDS = HeaderFields()


class Head(NamedTuple):
    """The part of a request that many requests share: the request line, and the header fields that decide what the
    request means. The request's other fields (such as length, key, credential) are in `Request.values`."""

    method: str
    target: bytes
    """As it was sent."""
    path: str
    """Percent-decoded once, relative to the mount. Bytes that are not UTF-8 become surrogates (PEP 383)."""
    query: bytes
    fields: Mapping[bytes, bytes] = NO_VALUES
    """By name in lower case; repeated fields are joined by commas (RFC 9110, section 5.3)."""
    mount: str = ""
    """The path under which a host application serves us, percent-decoded."""
    keep_alive: bool = True
    """Whether the client leaves the connection open (RFC 9112, section 9.3)."""

    @classmethod
    def of(cls, method: str, target: bytes, fields: Mapping[bytes, bytes]) -> Head:
        """A head from a request line with this `method` and `target`, which may have any form (RFC 9112, section
        3.2). `fields` are those that decide what the request means, by name in lower case."""
        path, _, query = _relative(target).partition(b"#")[0].partition(b"?")
        options = fields.get(b"connection", b"").lower().split(b",")
        keep_alive = b"close" not in [option.strip(b" \t") for option in options]
        return cls(method, target, decoded(path), query, fields, "", keep_alive)

    def text(self, name: bytes) -> str:
        """The value of the field `name`, which is in lower case; empty if it is missing."""
        return self.fields.get(name, b"").decode("latin-1")


class PreparedHead(NamedTuple):
    """The result of reading a head. It is cached for equal heads, so it holds no credential."""

    head: Head
    route: Route | None
    """None if the head decides the answer: `refused`, or a preflight."""
    parsed: Any
    """The result of the route's `parse`."""
    refused: RoomcastError | None
    cors: HeaderFields
    """The CORS fields of every answer to it."""
    label: str
    """The method's label in the metrics."""


class ClientConnection(Protocol):
    """The connection that a request came by."""

    def address(self) -> str:
        """The client's address; `UNIX_ADDRESS` at a socket file, empty if it is not known. Behind a proxy it is
        the proxy's."""
        ...

    def scheme(self) -> str:
        """`https` if the connection to this server uses TLS, else `http`; a proxy may use TLS before us."""
        ...


class Request:
    """One complete request."""

    __slots__ = (
        *("admitted", "began", "body", "connection", "cookie", "counted_as", "guard", "head", "host", "prepared"),
        *("principal", "take_more", "values"),
    )

    def __init__(
        self, prepared: PreparedHead, values: Mapping[bytes, bytes], body: bytes, connection: ClientConnection
    ) -> None:
        self.prepared = prepared
        self.head = prepared.head
        self.values = values
        """Its own header fields, by name in lower case."""
        self.body = body
        self.connection = connection
        self.admitted = False
        """Whether its head was accepted, before its body is read."""
        self.guard = NO_GUARD
        """The guard that found the principal."""
        self.principal = NOBODY
        """The client's principal, once the request is admitted."""
        self.counted_as = ""
        """The name under which the principal's streams and messages are counted; empty if they are not."""
        self.take_more: Callable[[int], None] | None = None
        """Takes more messages from the client's rate limits. Raises `TooMany`. None if there is no limit."""
        self.cookie: bytes | None = None
        """The credential in a cookie, if it is the one that decides."""
        self.host: Principal | None = None
        """The principal, if the host application names one."""
        self.began = time.perf_counter()

    @property
    def is_by_ticket(self) -> bool:
        """Whether the deciding credential is the ticket in its query."""
        return TICKET in self.values and b"authorization" not in self.values and self.guard.checks_credentials


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
        if opening.epoch is None and self._epoch != self._engine.hub.epoch:  # while a host sent the head
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
Perform = Callable[[Engine, Request, Any], Outcome | PendingAnswer | Awaitable[Outcome]]


class Route(NamedTuple):
    """One method of one path, in two steps: `parse` reads the head, `perform` serves the request."""

    perform: Perform
    """Serves the request, given the result of `parse`."""
    parse: Callable[[Head], Any] = lambda head: None
    """Reads a head. Pure, so that its result is cached with the head. Raises `RoomcastError`."""
    check: Callable[[Request], object] = lambda request: None
    """Checks a request's own fields and principal before its body is read. Raises `RoomcastError` to refuse it."""
    takes_body: bool = False
    needs: Verb | None = None
    """The right that every client of the route needs; None if it needs none."""
    needs_principal: bool = True
    """Whether the principal matters. If not, credentials are not checked."""
    takes_ticket: bool = False
    """Whether it accepts a ticket in the query as a credential."""
    by_key_only: bool = False
    """Whether only a key can give the right to it. Then neither cookies nor the host's login are checked."""
    retry_later: Callable[[Engine, Request, Any], Answer | None] | None = None
    """Makes the answer that tells a client to retry when its principal cannot be found now; None if the client
    gets an error instead."""


JSON = HeaderFields((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


def decoded(path: bytes) -> str:
    """The `path`, percent-decoded once. Bytes that are not UTF-8 become surrogates (PEP 383)."""
    return unquote(path.decode("latin-1"), errors="surrogateescape") if b"%" in path else path.decode("latin-1")


def _relative(target: bytes) -> bytes:
    """A target without the scheme and host that proxies send (RFC 9112, section 3.2.2)."""
    if target.startswith((b"http://", b"https://")):
        _, slash, rest = target.partition(b"//")[2].partition(b"/")
        return slash + rest or b"/"
    return target
