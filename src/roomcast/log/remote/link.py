"""A worker's link to the log process; it outlives that process and reconnects. It knows only bytes and frames.
Each kind of frame is handled by the handler that is registered for it.

All frames of one turn of the loop go out in one write.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from msgspec import Struct

from roomcast.log.remote.frames import FromLog, Splitter, decode_from_log, framed

LARGE = 1024 * 1024
"""Bytes of the socket's buffers: enough that most batches of the log are one write."""


class FrameHandler(Protocol):
    """A part of the worker that handles some kinds of frames."""

    handles: Sequence[type[FromLog]]
    """The kinds of frames that it handles."""

    def handle(self, frame: Any) -> None:
        """Handles one of these frames."""
        ...

    def lost(self) -> None:
        """The connection is gone: nothing that was sent will be answered."""
        ...


class Link(asyncio.Protocol):
    """One connection at a time."""

    def __init__(self, reconnect: Callable[[], None] = lambda: None) -> None:
        """`reconnect` is called when the connection is lost; it must bring a new one to `connect`."""
        self._reconnect = reconnect
        self._transport: asyncio.Transport | None = None
        self._handlers: list[FrameHandler] = []
        self._by_type: dict[type, Callable[[Any], None]] = {}
        self._out: list[bytes] = []
        """Frames to write at the end of this turn."""
        self._splitter = Splitter()
        self._closed = False

    def add(self, handler: FrameHandler) -> None:
        """Registers a handler for its kinds of frames."""
        self._handlers.append(handler)
        for kind in handler.handles:
            self._by_type[kind] = handler.handle

    async def connect(self, connected: socket.socket) -> None:
        """Takes a socket that is connected to the log process. The log process sends first."""
        set_up(connected)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=connected)

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._transport is not None

    def send(self, frame: Struct) -> None:
        """Sends a frame at the end of this turn of the loop; drops it if there is no connection."""
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
        self._splitter = Splitter()
        self._out.clear()
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for encoded in self._splitter.feed(data):
            frame = decode_from_log(encoded)
            if handle := self._by_type.get(type(frame)):
                handle(frame)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._out.clear()
        for handler in self._handlers:
            handler.lost()
        if not self._closed:
            self._reconnect()

    def _flush(self) -> None:
        if self._transport and self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()


def set_up(connected: socket.socket) -> None:
    """Prepares a socket between a worker and the log process, at either end."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connected.setsockopt(socket.SOL_SOCKET, option, LARGE)
    connected.setblocking(False)
