"""The shapes of the request path: what a handler is given, and what it gives back.

No sockets, no ASGI, no bytes of HTTP. Three ways in make a `Request` (the fast path, h11, ASGI) and write an
`Answer` or serve a `Streaming`; they differ in bytes only.
"""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

from roomcast.auth.guard import NOBODY_ASKED
from roomcast.auth.principal import NOBODY, Principal, Verb
from roomcast.delivery.budget import Reservation
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening
from roomcast.delivery.seats import Seat
from roomcast.delivery.stream import Connection, Stream, Visit
from roomcast.delivery.tenure import Holder
from roomcast.delivery.wire import wire
from roomcast.model.errors import RoomcastError
from roomcast.model.rooms import Selection

Pieces = AsyncGenerator[bytes, None]
"""Makes a body as its client takes it. No piece is empty."""
Field = tuple[bytes, bytes]
"""A header field: its name in lower case, and its value."""

UNIX_PEER = "unix"
"""The address of whoever is connected to a socket file: there are no others."""
_WITHOUT_BODY = (204, 304)
TICKET: Final = b"?ticket"
"""The name among a request's own fields of the ticket in its query, which is cut out of the target."""
NO_VALUES: Mapping[bytes, bytes] = {}


class Fields:
    """Header fields that many answers share, with the lines that they are over HTTP/1."""

    __slots__ = ("lines", "pairs")

    def __init__(self, *pairs: Field) -> None:
        self.pairs = pairs
        self.lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])


NO_FIELDS = Fields()


class Head(NamedTuple):
    """What many requests share: the request line, and the header fields that decide what is asked for. A request's
    own fields (its length, its key, its credential) are in `Request.values`."""

    method: str
    target: bytes
    """As it was sent."""
    path: str
    """Percent-decoded once, below the mount. What is not UTF-8 stays visible, as PEP 383 has it."""
    query: bytes
    fields: Mapping[bytes, bytes] = NO_VALUES
    """By name in lower case; a field given several times is joined by commas (RFC 9110, section 5.3)."""
    mount: str = ""
    """The path that an application around ours has served us under, percent-decoded."""
    keep_alive: bool = True
    """Whether the client leaves the connection open (RFC 9112, section 9.3)."""

    @classmethod
    def of(cls, method: str, target: bytes, fields: Mapping[bytes, bytes]) -> Head:
        """From a request line's target in any form (RFC 9112, section 3.2)."""
        path, _, query = _relative(target).partition(b"#")[0].partition(b"?")
        options = fields.get(b"connection", b"").lower().split(b",")
        keep_alive = b"close" not in [option.strip(b" \t") for option in options]
        return cls(method, target, decoded(path), query, fields, "", keep_alive)

    def text(self, name: bytes) -> str:
        """A field's value; empty where it is not there."""
        return self.fields.get(name, b"").decode("latin-1")


class Prepared(NamedTuple):
    """All that a head says. It is kept for heads that come again, so there is no credential in it."""

    head: Head
    route: Route | None
    """None where the answer is known: `refused`, or a preflight."""
    asked: Any
    """What the route read out of the head."""
    refused: RoomcastError | None
    cors: Fields
    """What every answer to it carries."""
    label: str
    """The method, as it is counted."""


class Peer(Protocol):
    """Who is at the other end of a connection."""

    def address(self) -> str:
        """Its address; `UNIX_PEER` at a socket file, empty where it is not known."""
        ...

    def scheme(self) -> str:
        """`https` where it has reached us over TLS, as far as is known here; else `http`."""
        ...


class Request:
    """One request, as a whole."""

    __slots__ = (
        *("admitted", "began", "body", "cookie", "counted_as", "guard", "head", "host", "peer", "prepared"),
        *("principal", "take_more", "values"),
    )

    def __init__(self, prepared: Prepared, values: Mapping[bytes, bytes], body: bytes, peer: Peer) -> None:
        self.prepared = prepared
        self.head = prepared.head
        self.values = values
        """Its own header fields, by name in lower case."""
        self.body = body
        self.peer = peer
        self.admitted = False
        """Whether it was decided, from its head, that it is served."""
        self.guard = NOBODY_ASKED
        """By whom the principal was found."""
        self.principal = NOBODY
        """Who asks; once it is admitted."""
        self.counted_as = ""
        """The name under which all that its principal does is counted; empty where nothing is."""
        self.take_more: Callable[[int], None] | None = None
        """Takes so many more of what its client may publish. Raises `TooMany`. None where there is no limit."""
        self.cookie: bytes | None = None
        """The credential in a cookie, where it is that which decides."""
        self.host: Principal | None = None
        """Who asks, where the program around us knows them."""
        self.began = time.perf_counter()

    @property
    def is_by_ticket(self) -> bool:
        """Whether the ticket in its query is the credential that decides."""
        return TICKET in self.values and b"authorization" not in self.values and self.guard.looks


class Answer:
    """A response that ends."""

    __slots__ = ("body", "closing", "cors", "fields", "held", "length", "own", "pieces", "status")

    def __init__(self, status: int, fields: Fields, body: bytes = b"", own: Sequence[Field] = ()) -> None:
        self.status = status
        self.fields = fields
        """Header fields that it shares with others."""
        self.body = body
        self.own = own
        """Header fields of this answer alone."""
        self.length = None if status in _WITHOUT_BODY else len(body)
        """Bytes of the body, as the client is told; None where it is told nothing."""
        self.pieces: Pieces | None = None
        """Makes a body whose length is not known, as the client takes it."""
        self.closing = False
        """Whether the connection is of no further use."""
        self.held: Reservation | None = None
        """The memory that its body is counted with, until its client has taken it."""
        self.cors = NO_FIELDS
        """What says which pages may read it; for the handler to say."""

    @classmethod
    def of_pieces(cls, status: int, fields: Fields, pieces: Pieces, own: Sequence[Field] = ()) -> Answer:
        """One whose body is made as the client takes it."""
        answer = cls(status, fields, b"", own)
        answer.pieces, answer.length = pieces, None
        return answer

    @classmethod
    def none(cls) -> Answer:
        """No answer: the connection is cut, as it is when a server dies. For what nobody can know: any status
        would be a lie."""
        return cls(0, NO_FIELDS).last()

    def last(self) -> Answer:
        """The same, and its connection ends with it."""
        self.closing = True
        return self


class Streaming:
    """A stream that may begin: the way in gives it a sink."""

    __slots__ = (
        "_content_type",
        "_engine",
        "_epoch",
        "_holder",
        "_opening",
        "_replaces",
        "_seat",
        "_selection",
        "cors",
        "fields",
        "visit",
    )
    status = 200

    def __init__(
        self,
        engine: Engine,
        selection: Selection,
        opening: Opening,
        content_type: str,
        fields: Fields,
        holder: Holder | None = None,
        seat: Seat | None = None,
        *,
        replaces: bool = False,
    ) -> None:
        """`holder` is whose right it goes on by, and `seat` is what their streams are counted by; with `replaces`,
        their older stream ends."""
        self._engine = engine
        self._holder = holder
        self._replaces = replaces
        self._seat = seat
        self._epoch = engine.hub.epoch
        """The history that `opening` was found in."""
        self._selection = selection
        self._opening = opening
        self._content_type = content_type
        self.fields = fields
        self.cors = NO_FIELDS
        self.visit: Visit | None = None
        """Who follows; for the handler to say."""

    def begin(self, connection: Connection, head: bytes, *, chunked: bool) -> None:
        """Streams into `connection`; the first write begins with `head`."""
        over = wire(self._content_type, chunked=chunked)
        opening = self._opening
        if opening.epoch is None and self._epoch != self._engine.hub.epoch:  # while a host sent the head
            opening = opening._replace(epoch=self._epoch)
        streams, holder = self._engine.streams, self._holder
        stream = Stream(streams, connection, self._selection, over, opening, holder, self._seat)
        stream.visit = self.visit
        connection.stream = stream
        stream.attach(head, replaces=self._replaces)


class Later(NamedTuple):
    """An answer that takes until `future` is done. Not a coroutine: a task for each publish costs more than most
    of what is done in it."""

    future: Future[Any]
    answer: Callable[[Future[Any]], Answer]
    """Makes it. Raises what `future` failed with."""


Outcome = Answer | Streaming
Perform = Callable[[Engine, Request, Any], Outcome | Later | Awaitable[Outcome]]


class Route(NamedTuple):
    """What one method of one path does, in two steps."""

    perform: Perform
    """Does it: given the request, and what its head asks for."""
    asks: Callable[[Head], Any] = lambda head: None
    """What a head asks for. Pure, so that what it says is kept with the head. Raises `RoomcastError`."""
    admits: Callable[[Request], object] = lambda request: None
    """Raises `RoomcastError` where a request's own fields, or who asks, already refuse it: before its body is
    read."""
    takes_body: bool = False
    needs: Verb | None = None
    """The right that is needed for anything of it."""
    asks_who: bool = True
    """Whether it matters who asks. Where it does not, a credential is not looked at."""
    takes_ticket: bool = False
    """Whether a ticket in the query is a credential."""
    by_key_only: bool = False
    """Whether only a key can give a right to it, so that nobody else's login is asked."""
    away: Callable[[Engine, Request, Any], Answer | None] | None = None
    """The answer that asks a client to come back, where nobody can say now who it is; None: it is an error."""


JSON = Fields((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


def decoded(path: bytes) -> str:
    """A path, percent-decoded once."""
    return unquote(path.decode("latin-1"), errors="surrogateescape") if b"%" in path else path.decode("latin-1")


def _relative(target: bytes) -> bytes:
    """Without scheme and host, which proxies send in front (RFC 9112, section 3.2.2)."""
    if target.startswith((b"http://", b"https://")):
        _, slash, rest = target.partition(b"//")[2].partition(b"/")
        return slash + rest or b"/"
    return target
