"""A worker's link to the log process; it outlives that process and reconnects. It knows only bytes and frames, and
passes each frame to the handler that is registered for its kind.

All frames of one turn of the loop go out in one write.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from msgspec import Struct

from roomcast.log.remote.frames import FromLog, Splitter, decode_from_log, framed

_BUFFER_BYTES = 1024 * 1024
"""The size of the socket's buffers: enough that most batches of the log are one write."""


class FrameHandler(Protocol):
    """A part of the worker that handles some kinds of frames."""

    handles: Sequence[type[FromLog]]
    """The kinds of frames that it handles."""

    def handle(self, frame: Any) -> None:
        """Handles `frame`, which is of one of these kinds."""
        ...

    def disconnected(self) -> None:
        """Called when the connection is gone: nothing that was sent will be answered."""
        ...


class Link(asyncio.Protocol):
    """One connection at a time, and the handlers of its frames."""

    def __init__(self, reconnect: Callable[[], None] = lambda: None) -> None:
        """`reconnect` is called when the connection is lost; it must pass a new socket to `connect`."""
        self._reconnect = reconnect
        self._transport: asyncio.Transport | None = None
        self._handlers: list[FrameHandler] = []
        self._by_type: dict[type, Callable[[Any], None]] = {}
        self._out: list[bytes] = []
        """Frames to write at the end of this turn."""
        self._splitter = Splitter()
        self._closed = False

    def add(self, handler: FrameHandler) -> None:
        """Registers `handler` for the kinds of frames that it handles."""
        self._handlers.append(handler)
        for kind in handler.handles:
            self._by_type[kind] = handler.handle

    async def connect(self, connected: socket.socket) -> None:
        """Takes `connected`, a socket that is connected to the log process. The log process sends first."""
        set_up_socket(connected)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=connected)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._transport is not None

    def send(self, frame: Struct) -> None:
        """Sends `frame` at the end of this turn of the loop; drops it if there is no connection."""
        if self._transport is None:
            return
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(framed(frame))

    def close(self) -> None:
        """Sends the waiting frames, and closes for good."""
        self._closed = True
        if self._transport:
            self._flush()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio. Nothing of an earlier connection goes over the new `transport`."""
        self._splitter = Splitter()
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio. Passes the frames that `data` completes to their handlers; drops those of a kind that
        has no handler."""
        for encoded in self._splitter.feed(data):
            frame = decode_from_log(encoded)
            if handle := self._by_type.get(type(frame)):
                handle(frame)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio. Tells all handlers, whatever the `error`, and connects again unless `close` was
        called."""
        self._transport = None
        self._out.clear()
        for handler in self._handlers:
            handler.disconnected()
        if not self._closed:
            self._reconnect()

    def _flush(self) -> None:
        if self._transport and self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()


def set_up_socket(connected: socket.socket) -> None:
    """Prepares `connected`, either end of a socket between a worker and the log process."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connected.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    connected.setblocking(False)
