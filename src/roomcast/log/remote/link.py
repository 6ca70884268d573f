"""A worker's connection to the log process, which outlives that process. It knows bytes and frames; hearers handle
the frames that they registered for.

All frames of one turn of the loop go out in one write.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from msgspec import Struct

from roomcast.log.remote.frames import FromLog, Splitter, decode_from_log, framed

LARGE = 1024 * 1024
"""Bytes of the socket's buffers: enough that most batches of the log are one write."""

logger = logging.getLogger("roomcast.log")


class Hearer(Protocol):
    """A part of the worker that handles some kinds of frames."""

    hears: Sequence[type[FromLog]]
    """The kinds of frames that it handles."""

    def hear(self, frame: Any) -> None:
        """One of these frames."""
        ...

    def lost(self) -> None:
        """The connection is gone: nothing that was sent will be answered."""
        ...


class Link(asyncio.Protocol):
    """One connection at a time."""

    def __init__(self, again: Callable[[], None] = lambda: None) -> None:
        """`again` is called when the connection is lost; it must bring a new one to `connect`."""
        self._again = again
        self._transport: asyncio.Transport | None = None
        self._hearers: list[Hearer] = []
        self._by_type: dict[type, Callable[[Any], None]] = {}
        self._out: list[bytes] = []
        """Frames to be written at the end of this turn."""
        self._splitter = Splitter()
        self._closed = False

    def add(self, hearer: Hearer) -> None:
        """Registers a hearer for its kinds of frames."""
        self._hearers.append(hearer)
        for kind in hearer.hears:
            self._by_type[kind] = hearer.hear

    async def connect(self, connected: socket.socket) -> None:
        """Takes a socket that is connected to the log process. The log process sends first."""
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connected.setsockopt(socket.SOL_SOCKET, option, LARGE)
        connected.setblocking(False)
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
        """Sends what waits, and ends for good."""
        self._closed = True
        if self._transport:
            self._flush()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._splitter = Splitter()
        self._out.clear()
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for data_of_frame in self._splitter.feed(data):
            frame = decode_from_log(data_of_frame)
            if hear := self._by_type.get(type(frame)):
                hear(frame)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._out.clear()
        for hearer in self._hearers:
            hearer.lost()
        if not self._closed:
            self._again()

    def _flush(self) -> None:
        if self._transport and self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()
