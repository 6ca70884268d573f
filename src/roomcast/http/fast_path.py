"""The first protocol of every connection: it serves requests with unambiguous heads that arrive as a whole.

The meaning of a head is looked up by its bytes. A request that is ambiguous, not HTTP/1.1, pipelined, malformed,
large or slow is fed to `Http1` as it was received, which then keeps the connection. No request is begun before all
of it is received, so none of HTTP's special cases is decided here.
"""

from __future__ import annotations

from roomcast.api.request import Request
from roomcast.http import context as limits
from roomcast.http.body import too_many
from roomcast.http.context import Context
from roomcast.http.exchange import Exchange
from roomcast.http.heads import END, Found
from roomcast.http.http1 import Http1


class FastPath(Exchange):
    """One connection, until a follower or `Http1` takes it over."""

    __slots__ = ("_found", "_head_bytes", "_received", "_size")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._received = b""
        """Bytes of an incomplete request, or of the requests after one that is being answered."""
        self._found: Found | None = None
        """The result of the head whose body is being received."""
        self._head_bytes = 0
        """Bytes of that head."""
        self._size = 0
        """Bytes of that request, with its body."""

    def data_received(self, data: bytes) -> None:
        """Serves the request that `data` completes, or keeps the bytes, or gives the connection to `Http1`."""
        received = self._received + data if self._received else data
        if self._answering:
            self._keep(received)
            self._transport.pause_reading()
            return
        if self._found is None:
            self._head_bytes = received.find(END) + len(END)
            # Without an end, find() is -1 and these are three bytes, which are no head.
            found = self._context.heads.find(received[: self._head_bytes])
            if found is None or found[2] > self._context.max_buffered_body or self._head_bytes > limits.HEAD_BYTES:
                self._hand_over(received)
                return
            self._found = found
            self._size = self._head_bytes + found[2]
        if len(received) > self._size:
            self._hand_over(received)
        elif len(received) < self._size:
            if not self._received:
                self._context.connections.mark_waiting(self._transport)  # for this request, from now on
            self._keep(received)
        else:
            self._serve(received)

    def eof_received(self) -> bool:
        """A client such as `nc -N` ends its side after its request and still reads: it is answered, then the
        connection is closed."""
        self._ended = True
        self._keep_alive = False
        return self._answering and self._survives_eof()

    def expire(self) -> None:
        """Closes an idle connection. `Http1` closes slow ones."""
        if self._choked:
            self._expire_answer()
        elif self._answering:
            return
        elif self._received:
            self._hand_over(self._received)
        elif self._waited(limits.IDLE_SECONDS if self._used else limits.HEAD_SECONDS):
            self._close("idle" if self._used else "head")

    def shed(self) -> None:
        """Refuses a request whose body is being received. If a request is being answered, its answer is the last
        one. Otherwise, or if the client does not read that answer, closes the connection."""
        found, self._found, self._received = self._found, None, b""
        self._keep_alive = False
        if self._answering and not self._choked:  # perhaps a publish: only its answer says whether it is stored
            return
        if found is None:
            self._transport.abort()
            return
        self._refuse(Request(found[0], found[1], b"", self), too_many())

    def _keep(self, received: bytes) -> None:
        self._received = received
        self._context.intake.hold(self, len(received))

    def _forget_received(self) -> None:
        if self._received:
            self._keep(b"")

    def _serve(self, received: bytes) -> None:
        assert self._found
        prepared, values, _ = self._found
        self._found = None
        self._forget_received()
        if not prepared.head.keep_alive:
            self._keep_alive = False
        self._handle(Request(prepared, values, received[self._head_bytes :], self))

    def _go_on(self) -> None:
        if received := self._received:
            self._forget_received()
            self._transport.resume_reading()
            self.data_received(received)

    def _hand_over(self, received: bytes) -> None:
        """Gives the connection, and everything received, to `Http1`."""
        self._detached = True
        self._forget_received()
        protocol = Http1(self._context)
        self._transport.set_protocol(protocol)
        protocol.adopt(self._transport)
        if received:
            protocol.data_received(received)
