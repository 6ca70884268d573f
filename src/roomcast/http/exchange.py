"""The answering half of a connection: one request at a time, in order, as fast as its client reads the answers.

The subclasses in `fast_path` and `http1` read the requests.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from roomcast.api.answer import Answer, Outcome, Pieces, Streaming
from roomcast.api.request import UNIX_ADDRESS, Request
from roomcast.delivery.budget import Reservation
from roomcast.http import context as limits
from roomcast.http.connection import SocketConnection
from roomcast.http.context import Context
from roomcast.http.render import LAST_CHUNK, answer_head, chunk, stream_head, whole_answer
from roomcast.http.tls_connection import TlsConnection
from roomcast.model.errors import Overloaded, RoomcastError

_READS = frozenset({"GET", "HEAD"})
"""Methods of requests that change nothing, so a client may repeat one whose answer was lost."""

logger = logging.getLogger("roomcast.server")


class Exchange(asyncio.Protocol):
    """One connection, until a follower takes it over."""

    __slots__ = (
        "_address",
        "_answering",
        "_choked",
        "_chunked",
        "_context",
        "_detached",
        "_ended",
        "_keep_alive",
        "_loop",
        "_pending",
        "_reservation",
        "_since",
        "_task",
        "_transport",
        "_used",
        "_writable",
    )

    _transport: asyncio.Transport

    def __init__(self, context: Context) -> None:
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._answering = False
        """Whether a request is being answered."""
        self._pending: Answer | None = None
        """The answer that waits for the write batch."""
        self._task: asyncio.Task[None] | None = None
        """The task that makes the answer; cancelled when the client disconnects."""
        self._address: str | None = None
        self._keep_alive = True
        self._ended = False
        """Whether the client has ended its side; it may still read."""
        self._detached = False
        """Whether another protocol has taken the connection over."""
        self._chunked = True
        """Whether the client understands chunks."""
        self._used = False
        """Whether any request was answered."""
        self._choked = False
        """Whether the client has stopped reading what was written."""
        self._reservation: Reservation | None = None
        """The memory of an answer that the client has not read yet."""
        self._writable: asyncio.Event | None = None
        """Set when the client reads again; `_write_pieces` waits for it."""
        self._since = self._loop.time()
        """When the connection was made, its last answer was given, or its client stopped reading: the latest."""

    # Implemented by subclasses

    def _go_on(self) -> None:
        """Reads the next request. Called after an answer if the connection is kept."""
        raise NotImplementedError

    def expire(self) -> None:
        """Closes the connection if a step has taken too long. Called every few seconds."""
        raise NotImplementedError

    def shed(self) -> None:
        """Drops what was received: this is the slowest sender, and others need the memory."""
        raise NotImplementedError

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called once, before any byte is received. `transport` is the connection."""
        self._transport = transport
        if not self._over_tls():  # call us when any byte waits, and when none does
            transport.set_write_buffer_limits(high=0)
        self._context.connections.enter(transport, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once, when the connection is closed. Cancels the task that makes the answer; `exc` does not
        matter."""
        self._context.connections.leave(self._transport)
        self._context.intake.hold(self, 0)
        self._pending = self._reservation = None
        if self._task:
            self._task.cancel()
            self._task = None  # breaks the reference cycle

    def pause_writing(self) -> None:
        """Stops reading from a client that does not read its answers: they would pile up without a bound."""
        self._choked = True
        self._since = self._loop.time()
        self._context.connections.mark_waiting(self._transport)
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Called when the client has read its answers: goes on with what waited for that."""
        self._choked = False
        self._reservation = None
        if self._writable:
            self._writable.set()
        # Even while an answer is under way: otherwise the next request would never be read.
        self._transport.resume_reading()
        if not self._answering:
            self._go_on()

    def _over_tls(self) -> bool:
        return self._transport.get_extra_info("sslcontext") is not None

    def _survives_eof(self) -> bool:
        """Whether a client that has ended its side is still answered. Not over TLS: the loop closes the connection
        as soon as the client ends its side."""
        return not self._over_tls()

    # Called by the server

    def shutdown(self) -> None:
        """Closes the connection, or lets the pending answer be its last: the server is about to end."""
        self._keep_alive = False
        if not self._answering:
            self._transport.close()

    def _waited(self, seconds: float) -> bool:
        """Whether more than `seconds` have passed since `_since`."""
        return self._loop.time() - self._since > seconds

    def _close(self, reason: str) -> None:
        """Closes the connection before its client is done, and counts the reason."""
        self._context.connections.count_closed(reason)
        self._transport.close()

    # Answering

    def _begin_answering(self) -> None:
        self._answering = True
        self._context.connections.mark_busy(self._transport)

    def _handle(self, request: Request) -> None:
        self._begin_answering()
        self._track(request, self._context.handler.handle(request, self._respond))

    def _refuse(self, request: Request, error: RoomcastError) -> None:
        """Answers a request whose body is not read to its end."""
        self._begin_answering()
        self._track(request, self._context.handler.refuse(request, error, self._respond))

    def _track(self, request: Request, task: asyncio.Task[None] | None) -> None:
        """Keeps the task that answers `request`; a small publish has none. The connection may then be closed for
        others, unless that would hide from the client whether something was stored, deleted or revoked."""
        if task:
            self._task = task
            # 1,000 reads that wait for the log, or delayed refusals of a flood, must not lock out a publisher.
            if request.head.method in _READS or not request.admitted:
                self._context.connections.mark_waiting(self._transport)

    def address(self) -> str:
        """The address at the other end. Cached: asking the kernel takes a tenth of a follow's time."""
        if self._address is None:
            # The peer name is None if the connection is gone, and a string for a socket file.
            peer = self._transport.get_extra_info("peername")
            self._address = str(peer[0]) if isinstance(peer, tuple) else "" if peer is None else UNIX_ADDRESS
        return self._address

    def scheme(self) -> str:
        """`https` or `http`, as in the URL of its pages unless a proxy ends TLS before us."""
        return "https" if self._over_tls() else "http"

    def _respond(self, outcome: Outcome) -> None:
        """Called by the handler with the outcome, at once or later."""
        self._task = None
        if isinstance(outcome, Streaming):
            self._stream(outcome)
            return
        if outcome.closing:
            self._keep_alive = False
            if not outcome.status:
                self._transport.abort()
                return
        if outcome.pieces is None:
            self._pending = outcome
            self._context.batch.add(self, self._loop)
        else:
            self._task = self._loop.create_task(self._write_pieces(outcome, outcome.pieces))

    def write_answer(self) -> None:
        """Called at the end of the loop's turn, by the write batch."""
        answer = self._pending
        if answer is not None and not self._transport.is_closing():
            self._pending = None
            self._transport.write(whole_answer(answer, close=not self._keep_alive))
            if self._choked:
                self._hold(answer)
            self._finish()

    def _hold(self, answer: Answer) -> None:
        """Reserves memory for an answer that waits. If there is none, closes the connection: its client does not
        read, so it cannot be told."""
        try:
            waiting = self._transport.get_write_buffer_size()
            self._reservation = answer.reservation or self._context.handler.answers.reserve(waiting)
        except Overloaded:
            self._transport.abort()

    async def _write_pieces(self, answer: Answer, pieces: Pieces) -> None:
        self._keep_alive = self._keep_alive and self._chunked
        head = answer_head(answer, close=not self._keep_alive, chunked=self._chunked)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    self._transport.write(head + (chunk(piece) if self._chunked else piece))
                    head = b""
                    await self._drained()
        except Exception as error:  # a begun answer cannot become an error: the client must see that it was cut
            trace = None if isinstance(error, RoomcastError) else error
            logger.error("an answer was cut, and its client must ask again: %s", error, exc_info=trace)
            self._transport.abort()
            return
        self._transport.write(head + (LAST_CHUNK if self._chunked else b""))
        self._task = None
        self._finish()

    async def _drained(self) -> None:
        """Waits until the client has read what was written."""
        while self._choked:
            self._writable = self._writable or asyncio.Event()
            self._writable.clear()
            await self._writable.wait()

    def _finish(self) -> None:
        self._answering = False
        self._used = True
        self._since = self._loop.time()
        self._context.connections.mark_waiting(self._transport)
        if not self._keep_alive:
            self._transport.close()
        elif not self._choked:
            self._go_on()

    def _stream(self, streaming: Streaming) -> None:
        """Hands the connection over to a follower. Later requests on it are dropped, as our `Connection: close`
        says (RFC 9112, section 9.6)."""
        self._detached = True
        self._context.intake.hold(self, 0)
        if self._transport.is_closing():
            return
        if self._ended:  # for a stream this means that the client is gone
            self._transport.close()
            return
        on_closed = self._context.connections.follow(self._transport)
        kind = TlsConnection if self._over_tls() else SocketConnection
        connection = kind(self._context.handler.answers, on_closed)
        connection.take(self._transport)
        self._transport.resume_reading()
        streaming.begin(connection, stream_head(streaming, chunked=self._chunked), chunked=self._chunked)

    def _expire_answer(self) -> None:
        """Closes the connection if its client has not read its answer in time."""
        if self._choked and self._waited(limits.IDLE_SECONDS):
            self._context.connections.count_closed("answer")
            self._transport.abort()
