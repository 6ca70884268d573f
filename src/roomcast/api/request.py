"""The types of a request and of its route.

No sockets, no ASGI, no bytes of HTTP. The three entry points (the fast path, h11, ASGI) make a `Request`; they
differ only in the bytes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

from roomcast.api.answer import Answer, HeaderFields, Outcome, PendingAnswer
from roomcast.auth.guard import NO_GUARD
from roomcast.auth.principal import NOBODY, Principal, Verb
from roomcast.delivery.engine import Engine
from roomcast.model.errors import RoomcastError

UNIX_ADDRESS = "unix"
"""The address of every client that is connected to the socket file."""
TICKET: Final = b"?ticket"
"""The name in `Request.values` of the ticket that was cut out of the query."""
NO_VALUES: Mapping[bytes, bytes] = {}

_ORIGIN = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
"""The scheme and host of a target in absolute form. The case of the scheme does not matter (RFC 3986, section
3.1)."""


class Head(NamedTuple):
    """The part of a request that many requests share: the request line, and the header fields that decide what the
    request means. The request's other fields (such as length, key, credential) are in `Request.values`."""

    method: str
    target: bytes
    """As it was sent, without a ticket in its query."""
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
        return cls(method, target, _decoded(path), query, fields, "", keep_alive)

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
    always_answered: bool = False
    """Whether a large answer is sent even if other answers use up the memory."""
    retry_later: Callable[[Engine, Request, Any], Answer | None] | None = None
    """Makes the answer that tells a client to retry when its principal cannot be found now; None if the client
    gets an error instead."""


def _decoded(path: bytes) -> str:
    """The `path`, percent-decoded once. Bytes that are not UTF-8 become surrogates (PEP 383)."""
    return unquote(path.decode("latin-1"), errors="surrogateescape") if b"%" in path else path.decode("latin-1")


def _relative(target: bytes) -> bytes:
    """A target without the scheme and host that clients of proxies send (RFC 9112, section 3.2.2). An empty path
    stands for `/` (RFC 9110, section 4.2.3)."""
    origin = _ORIGIN.match(target)
    if origin is None:
        return target
    rest = target[origin.end() :]
    return rest if rest.startswith(b"/") else b"/" + rest
