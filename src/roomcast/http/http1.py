"""HTTP/1 in all its forms, read by h11: for whatever the fast path leaves to it.

h11 reads requests and nothing else: each has a parser of its own, and what is written is `render`'s. Here are the
bounds that h11 leaves open: how large a head may be when it comes in one piece, how long head and body may take,
and how much is parsed in a turn of the loop.
"""

from __future__ import annotations

import asyncio
import re

import h11

from roomcast.api.request import TICKET, Head, Request
from roomcast.http import context as limits
from roomcast.http.body import Body, too_many, too_slow
from roomcast.http.context import Context
from roomcast.http.exchange import Exchange
from roomcast.http.heads import MOST_FIELDS, cut_ticket, divided, too_many_fields
from roomcast.http.render import CONTINUE
from roomcast.model.errors import HeadTooLarge, NotHttp, RoomcastError, TooLarge, UnknownCoding
from roomcast.model.redact import redacted

SLICE = 8 * 1024
"""Bytes of a body with a length that are given to h11 at once."""
_LINES_SLICE = 2 * 1024
"""Bytes given to it at once of what it reads line by line: a head, or chunks and the trailer behind them. 500
short lines take it 2.5 ms."""
EVENTS_A_TURN = 64
"""Requests and pieces of a body after which the others have their turn: uvloop reads 256 KB at once, 9,000 small
requests of a pipeline or 40,000 chunks of a byte, which held up everybody else for seconds."""
_LONGEST_LINE = 1_000
"""How much of what was not HTTP goes into the log."""


class Http1(Exchange):
    """One connection, until it is a follower's."""

    __slots__ = (
        "_answered",
        "_at",
        "_begun",
        "_body",
        "_eof",
        "_fed",
        "_first",
        "_lines",
        "_parser",
        "_received",
        "_request",
        "_scheduled",
        "_slice",
        "_tail",
        "_whole",
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._received = b""
        """What was read last, and of which `_at` bytes are given to h11; meanwhile nothing more is read."""
        self._at = 0
        self._scheduled = False
        """Whether reading goes on in the next turn."""
        self._begin()

    def _begin(self) -> None:
        """The next request, if any."""
        self._parser: h11.Connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.HEAD_BYTES)
        self._eof = False
        """Whether h11 was told that the client will send no more."""
        self._fed = 0
        """Bytes given to h11 for this request, up to the end of its head."""
        self._first = b""
        """How its head begins."""
        self._lines = 0
        """Lines of its head."""
        self._tail = b""
        """The last bytes given to h11: its head may end between two slices."""
        self._slice = _LINES_SLICE
        """Bytes given to h11 at once."""
        self._request: Request | None = None
        """Once its head is read."""
        self._body: Body | None = None
        """A body that is asked for; None where what comes of it is dropped."""
        self._whole = False
        """Whether all of the request was read."""
        self._answered = False
        """Whether the request has its answer, while its body may still come."""
        self._begun = self._loop.time()

    def take_over(self, transport: asyncio.Transport) -> None:
        """Has a connection from now on that was another protocol's."""
        self._transport = transport
        self._context.connections.hand_over(transport, self)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self._received = self._received[self._at :] + data
        self._at = 0
        if not self._scheduled:
            self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # The request knows its peer, which is this: what both hold would stay until garbage is collected, and
        # three rounds of 150 bodies that were cut took 160 MB.
        self._request = self._body = None
        self._received, self._at = b"", 0

    def eof_received(self) -> bool:
        """A client such as `nc -N` ends its side after its request, and reads on: it is answered, then closed.
        One that ends in the middle of a request is gone."""
        self._ended = True
        if self._answering:
            self._keep_alive = self._keep_alive and self._left > 0
        elif not self._scheduled:
            self._advance()
        return not self._transport.is_closing() and self._outlives_end()

    def expire(self) -> None:
        """Ends what takes too long: a head, a body, an answer, or what comes behind one."""
        took = self._loop.time() - self._begun
        if self._choked:
            self._expire_answer()
        elif self._request is None:
            self._expire_head(took)
        elif self._body is not None and took > limits.BODY_SECONDS:
            self._context.connections.count("body")
            self._keep_alive = False
            self._refuse(self._request, too_slow())
        elif self._answered and self._waited(limits.LINGER_SECONDS):
            self._transport.close()

    def _expire_head(self, took: float) -> None:
        idle = self._used and not self._fed
        if idle and self._waited(limits.IDLE_SECONDS):
            self._close("idle")
        elif not idle and took > limits.HEAD_SECONDS:
            self._close("head")

    def shed(self) -> None:
        """Refuses a request whose body is on its way; cuts the connection otherwise."""
        self._received, self._at = b"", 0
        if self._request is None or self._body is None or self._answering:
            self._transport.abort()
            return
        self._keep_alive = False
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
        self._take()
        self._account()

    def _account(self) -> None:
        """Says what is held of requests that are not complete, or wait."""
        if self._at == len(self._received) and not self._whole:
            self._received, self._at = b"", 0  # h11 has it
        head = self._fed if self._request is None else 0
        body = self._body.held if self._body else 0
        waiting = len(self._received) if self._at < len(self._received) else 0
        trailer = len(self._parser.trailing_data[0]) if self._body and self._slice == _LINES_SLICE else 0
        if not self._detached and not self._transport.is_closing():
            self._context.intake.hold(self, head + body + waiting + trailer)

    def _take(self) -> None:
        """Takes what h11 finds, until it needs more or a request is to be answered."""
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
        """One event, or one slice of what was received; False where there is neither."""
        if self._answered and self._whole:
            self._next()
            return True
        event = self._parser.next_event()
        if event is h11.NEED_DATA:
            return self._feed()
        if isinstance(event, h11.Request):
            self._take_head(event)
        elif isinstance(event, h11.Data):
            self._take_body(event.data)
        elif isinstance(event, h11.EndOfMessage):
            self._take_end()
        elif isinstance(event, h11.ConnectionClosed):
            self._transport.close()
        return True

    def _next(self) -> None:
        """From one request to the one behind it."""
        self._at -= len(self._parser.trailing_data[0])
        self._begin()

    @property
    def _left(self) -> int:
        """Bytes that were received behind what was read of this request."""
        return len(self._received) - self._at + len(self._parser.trailing_data[0])

    def _feed(self) -> bool:
        if not self._fed:
            self._skip_line_ends()
        data = self._received[self._at : self._at + self._slice]
        self._at += len(data)
        if not data:
            if not self._ended:
                return False
            self._eof = True
        if self._request is None:
            self._count_head(data)
        elif self._slice == _LINES_SLICE:
            self._check_trailer()
        self._parser.receive_data(data)
        return True

    def _skip_line_ends(self) -> None:
        """Those before a request line (RFC 9112, section 2.2)."""
        before = _LINE_ENDS.match(self._received, self._at)
        self._at = before.end() if before else self._at

    def _count_head(self, data: bytes) -> None:
        if not self._fed:
            self._context.connections.waits(self._transport)  # for this request, since now
            if self._used:
                self._begun = self._loop.time()  # the connection was kept for as long as it was
        if self._fed >= limits.HEAD_BYTES:
            raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
        self._first += data[: _LONGEST_LINE - len(self._first)]
        self._fed += len(data)
        self._count_lines(data)

    def _count_lines(self, data: bytes) -> None:
        """Before h11 has them: it reads a head in one go."""
        seen = self._tail + data
        end = _BLANK_LINE.search(seen)
        self._lines += seen.count(b"\n", len(self._tail), end.end() if end else len(seen))
        self._tail = seen[-2:]
        if self._lines > MOST_FIELDS + 2:  # with the request line and the blank one
            raise _TooManyFields

    def _check_trailer(self) -> None:
        """Whether what h11 holds, which is not a whole chunk, is a trailer with too many fields."""
        if self._parser.trailing_data[0].count(b"\n") > MOST_FIELDS:
            raise _TooManyFields

    def _read_on(self) -> None:
        if not self._choked:
            self._transport.resume_reading()

    def _take_head(self, event: h11.Request) -> None:
        if not event.http_version.startswith(b"1."):
            raise h11.RemoteProtocolError("this is HTTP/1.1, without TLS or HTTP/2")
        decides, values = divided(event.headers)
        if b"transfer-encoding" in decides and b"content-length" in values:
            # RFC 9112, section 6.1: what stands before us may have gone by the other one.
            raise h11.RemoteProtocolError("a body has a length or is chunked, not both")
        target, ticket = cut_ticket(event.target)
        if ticket is not None:
            values[TICKET] = ticket
        head = Head.of(event.method.decode(), target, decides)
        self._request = request = Request(self._context.handler.prepare(head), values, b"", self)
        self._chunked = event.http_version != b"1.0"
        self._keep_alive = self._keep_alive and self._chunked and head.keep_alive
        if b"transfer-encoding" not in decides:
            self._slice = SLICE
        self._expect(request)

    def _expect(self, request: Request) -> None:
        """Asks for the body where one is wanted, else answers at once."""
        route = request.prepared.route
        if route is None or not route.takes_body:
            self._handle(request)
            return
        self._body = Body(self._context.handler.max_body)
        try:
            self._context.handler.admit(request)
            self._body.expect(request.values.get(b"content-length", b""))
        except RoomcastError as error:
            self._refuse(request, error)
            return
        if self._parser.they_are_waiting_for_100_continue:
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
        """Answers what is no HTTP, where nothing was answered yet, and ends the connection."""
        if self._answering or self._answered or self._eof:
            self._keep_alive = False
            if not self._answering:
                self._transport.close()
            return
        self._transport.pause_reading()
        self._keep_alive = False
        self._begin_answering()
        first = self._first.partition(b"\r\n")[0]
        self._context.handler.unreadable(first, _unreadable(error, first), self, self._respond)


class _TooManyFields(h11.RemoteProtocolError):
    """A head or a trailer has more fields than are read."""

    def __init__(self) -> None:
        super().__init__("too many fields", error_status_hint=431)


_BLANK_LINE = re.compile(rb"\n\r?\n")
"""What h11 takes for the end of a head."""
_LINE_ENDS = re.compile(rb"[\r\n]*")


def _unreadable(error: h11.RemoteProtocolError, line: bytes) -> RoomcastError:
    if isinstance(error, _TooManyFields):
        return too_many_fields()
    match error.error_status_hint:
        case 431:
            return HeadTooLarge(f"it is at most {limits.HEAD_BYTES // 1024} KiB")
        case 501:
            return UnknownCoding("send the body as it is or chunked, without another Transfer-Encoding")
    if not line.isascii():
        return NotHttp(
            "its first line has bytes that are not ASCII: percent-encode them, as in room=gr%C3%B6%C3%9Fe"
        )
    return NotHttp(redacted(str(error))[:200])  # it quotes lines of the head
