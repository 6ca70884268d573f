"""HTTP/1 in all its forms, read by h11, for the connections that the fast path leaves to it.

h11 reads requests and nothing else: each request has a parser of its own (`request_parser`), and `render` writes
the answers. This module bounds the time for head and body, and the work in one turn of the loop.
"""

from __future__ import annotations

import asyncio
import re

import h11

from roomcast.api.request import TICKET, Head, Request
from roomcast.http import context as limits
from roomcast.http.body import RequestBody, too_many, too_slow
from roomcast.http.context import Context
from roomcast.http.exchange import Exchange
from roomcast.http.head_fields import cut_ticket, split_fields
from roomcast.http.render import CONTINUE
from roomcast.http.request_parser import RequestParser, error_of
from roomcast.model.errors import RoomcastError, TooLarge

EVENTS_A_TURN = 64
"""After this many requests or pieces of a body, other connections have their turn. uvloop reads 256 KB at once:
9,000 small pipelined requests or 40,000 one-byte chunks held up all others for seconds."""
_LINE_ENDS = re.compile(rb"[\r\n]*")


class Http1(Exchange):
    """One connection, until a follower takes it over."""

    __slots__ = (
        "_answered",
        "_at",
        "_body",
        "_parser",
        "_received",
        "_request",
        "_scheduled",
        "_started_at",
        "_whole",
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._received = b""
        """The bytes read last. The parser has the first `_at` of them; until it has all, nothing more is read."""
        self._at = 0
        self._scheduled = False
        """Whether parsing goes on in the next turn of the loop."""
        self._begin()

    def _begin(self) -> None:
        """Begins the next request."""
        self._parser = RequestParser()
        self._request: Request | None = None
        """Set when its head is read."""
        self._body: RequestBody | None = None
        """The body if the route takes one; any other body is dropped."""
        self._whole = False
        """Whether all of the request was read."""
        self._answered = False
        """Whether the request was answered; its body may still be arriving."""
        self._started_at = self._loop.time()

    def adopt(self, transport: asyncio.Transport) -> None:
        """Takes `transport` over from another protocol."""
        self._transport = transport
        self._context.connections.hand_over(transport, self)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Parses `data`, unless a request before it must be answered first."""
        self._received = self._received[self._at :] + data
        self._at = 0
        if not self._scheduled:
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once, when the connection is closed: forgets the request. `exc` does not matter."""
        super().connection_lost(exc)
        # The request refers to this connection. A reference cycle would keep both until garbage is collected:
        # three rounds of 150 bodies that were cut took 160 MB.
        self._request = self._body = None
        self._received, self._at = b"", 0

    def eof_received(self) -> bool:
        """A client such as `nc -N` ends its side after its request and still reads: it is answered, then the
        connection is closed. A client that ends its side in the middle of a request is gone."""
        self._ended = True
        if self._answering:
            self._keep_alive = self._keep_alive and self._unparsed > 0
        elif not self._scheduled:
            self._advance()
        return not self._transport.is_closing() and self._survives_eof()

    def expire(self) -> None:
        """Ends a head, a body, an answer, or the rest of an answered request that takes too long."""
        took = self._loop.time() - self._started_at
        if self._choked:
            self._expire_answer()
        elif self._request is None:
            self._expire_head(took)
        elif self._body is not None and took > limits.BODY_SECONDS:
            self._context.connections.count_closed("body")
            self._keep_alive = False
            self._refuse(self._request, too_slow())
        elif self._answered and self._waited(limits.LINGER_SECONDS):
            self._transport.close()

    def _expire_head(self, took: float) -> None:
        idle = self._used and not self._parser.received
        if idle and self._waited(limits.IDLE_SECONDS):
            self._close("idle")
        elif not idle and took > limits.HEAD_SECONDS:
            self._close("head")

    def shed(self) -> None:
        """Refuses a request whose body is being received. If a request is being answered, its answer is the last
        one. Otherwise, or if the client does not read that answer, closes the connection."""
        self._received, self._at = b"", 0
        self._keep_alive = False
        if self._answering and not self._choked:  # perhaps a publish: only its answer says whether it is stored
            return
        if self._request is None or self._body is None:
            self._transport.abort()
            return
        self._refuse(self._request, too_many())

    # Reading

    def _go_on(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._scheduled = False
        self._advance()

    def _advance(self) -> None:
        self._take_events()
        self._count_held()

    def _count_held(self) -> None:
        """Counts the bytes held for requests that are incomplete or wait for their turn."""
        if self._at == len(self._received) and not self._whole:
            self._received, self._at = b"", 0  # the parser has them
        head = self._parser.received if self._request is None else 0
        body = self._body.held if self._body else 0
        waiting = len(self._received) if self._at < len(self._received) else 0
        trailer = len(self._parser.unread) if self._body and self._parser.reads_lines else 0
        if not self._detached and not self._transport.is_closing():
            self._context.intake.hold(self, head + body + waiting + trailer)

    def _take_events(self) -> None:
        """Takes the parser's events, until it needs more bytes or a request waits for its answer."""
        for _ in range(EVENTS_A_TURN):
            if self._detached or self._transport.is_closing():
                return
            if self._answering and self._whole:
                self._transport.pause_reading()
                return
            try:
                if not self._step():
                    self._read_on()
                    return
            except h11.RemoteProtocolError as error:
                self._malformed(error)
                return
        self._transport.pause_reading()
        self._go_on()

    def _step(self) -> bool:
        """Takes one event, or gives the parser one slice. Returns False if there is neither."""
        if self._answered and self._whole:
            self._next()
            return True
        event = self._parser.next_event()
        if event is h11.NEED_DATA:
            return self._give_slice()
        if isinstance(event, h11.Request):
            self._take_head(event)
        elif isinstance(event, h11.Data):
            self._take_body(event.data)
        elif isinstance(event, h11.EndOfMessage):
            self._take_end()
        else:  # h11.ConnectionClosed: the client ended its side between two requests
            self._transport.close()
        return True

    def _next(self) -> None:
        """Goes on to the next request."""
        self._at -= len(self._parser.unread)
        self._begin()

    @property
    def _unparsed(self) -> int:
        """Received bytes after the parsed part of this request."""
        return len(self._received) - self._at + len(self._parser.unread)

    def _give_slice(self) -> bool:
        """Gives the parser a slice. Returns False if there is none."""
        if not self._parser.received:
            self._skip_line_ends()
        data = self._received[self._at : self._at + self._parser.slice]
        if not data and not self._ended:
            return False
        self._at += len(data)
        if not self._parser.received:
            self._note_beginning()
        self._parser.receive(data)
        return True

    def _skip_line_ends(self) -> None:
        """Skips line ends before a request line (RFC 9112, section 2.2)."""
        before = _LINE_ENDS.match(self._received, self._at)
        self._at = before.end() if before else self._at

    def _note_beginning(self) -> None:
        self._context.connections.mark_waiting(self._transport)  # for this request, from now on
        if self._used:
            self._started_at = self._loop.time()  # the time that the connection was idle does not count

    def _read_on(self) -> None:
        if not self._choked:
            self._transport.resume_reading()

    def _take_head(self, event: h11.Request) -> None:
        if not event.http_version.startswith(b"1."):
            raise h11.RemoteProtocolError("this is HTTP/1.1, without TLS or HTTP/2")
        decides, values = split_fields(event.headers)
        if b"transfer-encoding" in decides and b"content-length" in values:
            # RFC 9112, section 6.1: a proxy in front of us may have used the other one.
            raise h11.RemoteProtocolError("a body has a length or is chunked, not both")
        target, ticket = cut_ticket(event.target)
        if ticket is not None:
            values[TICKET] = ticket
        head = Head.of(event.method.decode(), target, decides)
        self._request = request = Request(self._context.handler.prepare(head), values, b"", self)
        self._chunked = event.http_version != b"1.0"
        self._keep_alive = self._keep_alive and self._chunked and head.keep_alive
        self._expect(request)

    def _expect(self, request: Request) -> None:
        """Receives the body if the route takes one; otherwise handles the request at once."""
        route = request.prepared.route
        if route is None or not route.takes_body:
            self._handle(request)
            return
        self._body = RequestBody(self._context.handler.max_body)
        try:
            self._context.handler.admit(request)
            self._body.expect(request.values.get(b"content-length", b""))
        except RoomcastError as error:
            self._refuse(request, error)
            return
        if self._parser.expects_continue:
            self._transport.write(CONTINUE)

    def _take_body(self, data: bytes) -> None:
        if self._body is None:
            return
        assert self._request
        try:
            self._body.add(data)
        except TooLarge as error:
            self._refuse(self._request, error)

    def _take_end(self) -> None:
        self._whole = True
        if self._body is not None:
            assert self._request
            self._request.body, self._body = self._body.whole(), None
            self._handle(self._request)

    # Answering

    def _finish(self) -> None:
        self._answered = True
        super()._finish()

    def _refuse(self, request: Request, error: RoomcastError) -> None:
        self._body = None
        super()._refuse(request, error)

    def _malformed(self, error: h11.RemoteProtocolError) -> None:
        """Answers bytes that are not HTTP, and ends the connection. Sends no answer of its own if the request is
        answered already or is being answered, or if the client has ended its side."""
        if self._answering or self._answered or self._parser.ended:
            self._keep_alive = False
            if not self._answering:
                self._transport.close()
            return
        self._transport.pause_reading()
        self._keep_alive = False
        self._begin_answering()
        line = self._parser.first_line()
        self._context.handler.unreadable(line, error_of(error, line), self, self._respond)
