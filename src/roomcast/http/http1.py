"""uvicorn's HTTP/1 protocol, for whatever `front` leaves to it, with the take-over of a connection offered to the
application.

Beside it the bounds that uvicorn leaves open: how large a request's head may be, and how long it may take.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from roomcast.http.connection import SocketConnection

TAKE_OVER = "roomcast.take_over"
"""The ASGI extension: call it with a `SocketConnection`; False where the connection is already gone."""
HEAD_BYTES = 64 * 1024
"""Against header lines without end: llhttp has no bound of its own."""
HEAD_SECONDS = 30.0
"""Against Slowloris: a head that trickles in holds a connection no longer than this."""
SLICE = 4 * 1024
"""Bytes parsed at once, and in one turn of the loop where they have many parts. uvloop reads 256 KB at once: 9,000
small requests of a pipeline, or 40,000 chunks of a byte, which held up everybody else for seconds."""
PARTS = 200
"""Requests, header fields and pieces of a body after which the others have their turn."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\n"
    b"content-length: 33\r\nconnection: close\r\n\r\nThe request's head is too large.\n"
)


class HttpProtocol(HttpToolsProtocol):
    """One connection, until a follower takes it over."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes: int | None = 0
        """Bytes of the head so far; None while a body or a response is under way."""
        self._head_since = self.loop.time()
        self._head_is_new = False
        """Whether it began in the bytes read last, behind an earlier request's."""
        self._half_closed = False
        """Whether the client will send no more, and may still read."""
        self._body_open = False
        """Whether the request's body is still to come."""
        self._lingering = False
        """Whether it was so, and already answered, when last looked at."""
        self._data = b""
        """What was read last, while it is parsed."""
        self._refused = b""
        """The head of a request that asked for another protocol, without the asking."""
        self._rest = b""
        """What was read and is not parsed yet; meanwhile nothing more is read."""
        self._parts = 0
        """What was found in this turn."""
        self._spoilt = False
        """Whether what came behind the requests under way is no HTTP: it is not looked at."""
        self._served: RequestResponseCycle | None = None
        """The request that is being answered; `cycle` is the one that came last."""
        self._pieces: list[bytes] = []
        """Of the body, as they were parsed last."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """uvicorn's, but for our own address, which nobody asks for: to look it up makes a socket object and took
        a tenth of a connection's time."""
        self.connections.add(self)
        self.transport = transport
        self.flow = _Flow(self, transport)
        peer = transport.get_extra_info("peername")
        self.client = (str(peer[0]), int(peer[1])) if peer else None
        self.scheme = "http"

    def connection_lost(self, exc: Exception | None) -> None:
        self.pipeline.clear()
        if self._served:  # uvicorn marks the last one only, and the others write to a closed transport
            self._served.disconnected = True
            self._served.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        self._parts += 1
        super().on_message_begin()
        self._head_since = self.loop.time()
        self._head_bytes = 0
        self._head_is_new = self._body_open = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._parts += 1
        if self._head_bytes is not None:  # else it is a trailer, which may be dropped (RFC 9110, section 6.5.1)
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._parts += 1
        self._pieces.append(body)

    def _join_body(self) -> None:
        """uvicorn adds each piece to what it has, which takes time in the square of their number."""
        if self._pieces:
            body = b"".join(self._pieces)
            self._pieces.clear()
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._join_body()
        self._body_open = self._lingering = False
        if not self._refused:
            super().on_message_complete()

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() == "1.1" and [name for name, _ in self.headers].count(b"host") != 1:
            # RFC 9112, section 3.2: whoever stands before us could take it for another's. It becomes a 400.
            raise ValueError("a request names one host")
        if self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers):
            self._refused = self._plain_head()
            return
        self._head_bytes = None
        super().on_headers_complete()
        self.scope["extensions"] = {TAKE_OVER: cast(Any, partial(self._take_over, self.cycle))}

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
        elif not self._spoilt:
            self._parse(data)

    def _go_on(self) -> None:
        """Parses more of what was read, when all requests before it are answered or under way."""
        if self.parser is None or self.transport.is_closing():
            self._rest = b""
        elif self._rest and not self.pipeline:
            rest, self._rest = self._rest, b""
            self._parse(rest)
            if not self._rest:
                self._read_on()

    def _read_on(self) -> None:
        if self._half_closed and not self.eof_received():
            self.transport.close()
        elif self.flow and not self.pipeline and (self.cycle is None or len(self.cycle.body) <= HIGH_WATER_LIMIT):
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._rest:
            self.loop.call_soon(self._go_on)

    def _parse(self, data: bytes) -> None:
        """Leaves the rest for the next turn where there is much in it, or somebody waits for an answer."""
        self._parts = parsed = 0
        while parsed < len(data) and self._parts < PARTS and not self.pipeline:
            self._parse_slice(data[parsed : parsed + SLICE])
            parsed += SLICE
            if self._spoilt or self.transport.is_closing():
                return
        self._rest = data[parsed:]
        if self._rest:
            self.flow.pause_reading()
            self.loop.call_soon(self._go_on)

    def _parse_slice(self, data: bytes) -> None:
        self._head_is_new = False
        self._data = data
        super().data_received(data)
        self._join_body()
        self._data = b""
        # Of these bytes, an earlier request's body may be the most: a head is counted from its second read on.
        if self._head_bytes is not None and not self._head_is_new and not self._spoilt:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Not in the place of the answer that a publish before it is owed: its client would take it for refused,
        and it may be stored. All that are under way are answered, and the connection ends."""
        under_way = [self._served, *(cycle for cycle, _ in self.pipeline)]
        waiting = [cycle for cycle in under_way if cycle and not cycle.response_complete]
        owed = any(cycle.scope["method"] == "POST" for cycle in waiting)
        if owed and (self._head_bytes is not None or not self._body_open):
            self.cycle.keep_alive = False
            self._spoilt = True
            self.flow.pause_reading()
        else:
            super().send_400_response(msg)

    def _unsupported_upgrade_warning(self) -> None:
        """Serves the request as HTTP/1.1 (RFC 9110, section 7.8). Java's HttpClient and `curl --http2` ask for h2c
        with every first request, and httptools takes what follows the head for the other protocol's."""
        error = sys.exception()
        head, data = self._refused, self._data
        self._refused = self._data = b""
        if not data:  # each that asks behind another one costs a copy of all that follow
            self.send_400_response("Ask for another protocol with one request at a time.")
        elif isinstance(error, httptools.HttpParserUpgrade):
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            super().data_received(head + data[error.args[0] :])

    def _plain_head(self) -> bytes:
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own signature
        """A client such as `nc -N` ends its side after its request, and reads on: it is answered, then closed.
        One that ends in the middle of a request is gone."""
        self._half_closed = True
        if self._rest:
            return True
        if self._body_open or self.cycle is None or self.cycle.response_complete:
            return False
        self.cycle.keep_alive = False
        return True

    def expire(self) -> None:
        """Called every few seconds: closes the connection if its request's head or body takes too long, or if the
        body of a request that was refused early goes on and on. Not at once: a client that is sending
        would see a reset instead of the answer."""
        if self._rest:  # it is for us to go on
            self._head_since = self.loop.time()
        took = self.loop.time() - self._head_since
        in_head = self._head_bytes is not None
        slow = in_head and self.timeout_keep_alive_task is None and took > HEAD_SECONDS
        answered = self.cycle is not None and self.cycle.response_complete
        answered_early = answered and self._body_open and not in_head
        if slow or (answered_early and self._lingering):
            self.transport.close()
        self._lingering = answered_early

    def _take_over(self, cycle: RequestResponseCycle, connection: SocketConnection) -> bool:
        """Hands the transport over and lets go of everything else.

        `on_response` is never called, and the connection leaves uvicorn's set: with it there, a shutdown
        would wait for the stream for ever. Requests pipelined behind are dropped, as our `Connection: close`
        says (RFC 9112, section 9.6). Who has ended its side is gone, as far as a stream can tell."""
        cycle.response_started = cycle.response_complete = cycle.disconnected = True
        if self._half_closed:
            self.transport.close()
        if self.transport.is_closing():
            return False
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        self._rest = b""
        self.flow.resume_reading()
        self.connections.discard(self)
        connection.take(self.transport)
        self.parser = self.scope = self.cycle = self.flow = self._served = None  # type: ignore[assignment]
        return True


class _Flow(FlowControl):
    """uvicorn's, which does not read on while something is left to be parsed."""

    def __init__(self, protocol: HttpProtocol, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._protocol = protocol

    def resume_reading(self) -> None:
        if not self._protocol._rest:
            super().resume_reading()
