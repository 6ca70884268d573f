"""A follower's connection: the socket, and nothing of the request that opened it.

Once a follow is accepted, its transport is given this protocol. Writes go straight to the socket while nothing
waits in the transport, and through the transport otherwise. Over TLS this would write plain text into the
encrypted connection, so TLS connections have a class of their own (`tls_connection`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from functools import partial
from typing import cast

from roomcast.delivery.budget import Budget
from roomcast.delivery.stream import Stream
from roomcast.model.errors import Overloaded

_SIOCOUTQ = termios.TIOCOUTQ


class FollowerConnection(asyncio.Protocol):
    """The common part of both kinds of connection: they take a transport over, count unread bytes, and end."""

    __slots__ = ("_budget", "_on_closed", "_ours", "_reason", "_transport", "_unread", "_writable", "stream")

    def __init__(self, budget: Budget, on_closed: Callable[[], None]) -> None:
        """`on_closed` is called when the connection is closed."""
        self._on_closed = on_closed
        self._budget = budget
        self._unread: list[bytes] | None = None
        """The bytes objects that its client has not read yet, each counted in `budget`."""
        self._reason = "client"
        """The reason that the stream is told if the connection ends first."""
        self._transport = cast(asyncio.Transport, None)
        self._ours = False
        """Whether this object may still write to the transport."""
        self._writable = False
        """Whether nothing waits in the transport."""
        self.stream: Stream | None = None

    def take(self, transport: asyncio.Transport) -> None:
        """Takes `transport` over from another protocol."""
        self._transport = transport
        self._ours = True
        transport.set_protocol(self)
        self._writable = transport.get_write_buffer_size() == 0

    def abort(self) -> None:
        """Closes the connection at once."""
        self._stop_writing()
        self._transport.abort()

    def _stop_writing(self) -> None:
        self._ours = False
        self._writable = False

    def _hold(self, data: bytes) -> None:
        """Counts bytes that wait. If there is no memory for them, cuts the client, which then resumes."""
        try:
            self._budget.hold(data)
        except Overloaded:
            self._reason = "overload"
            self.abort()
        else:
            self._unread = [*(self._unread or ()), data]

    def _release_unread(self) -> None:
        """The client has read everything that waited."""
        unread, self._unread = self._unread, None
        for data in unread or ():
            self._budget.drop(data)

    # asyncio.Protocol. Bytes that the client sends after its request are ignored.

    def pause_writing(self) -> None:
        """Called when bytes wait in the transport: the stream must wait for `pump`."""
        self._writable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once, when the connection is closed. `exc` is a `TimeoutError` if the client read nothing for too
        long; the stream then ends with the reason `slow`."""
        self._on_closed()
        self._stop_writing()
        self._release_unread()
        if self.stream:
            # TCP_USER_TIMEOUT: the kernel noticed before us that the client reads nothing.
            self.stream.connection_lost("slow" if isinstance(exc, TimeoutError) else self._reason)
            self.stream = None


class SocketConnection(FollowerConnection):
    """A sink that is a socket."""

    __slots__ = ("_fd", "_fresh", "send")

    def __init__(self, budget: Budget, on_closed: Callable[[], None]) -> None:
        super().__init__(budget, on_closed)
        self._fd = -1
        """The socket's descriptor, from its first use until the connection is closed; else -1."""
        self._fresh = True
        """Whether nothing was written yet. The first bytes go through the transport: to get the descriptor, uvloop
        makes a socket object, which takes an eighth of the time to accept a follower."""
        self.send: Callable[[bytes], int] = _nothing

    def take(self, transport: asyncio.Transport) -> None:
        """Takes `transport`, which must not use TLS, over from another protocol."""
        super().take(transport)
        transport.set_write_buffer_limits(high=0)  # call us when any byte waits, and when none does

    @property
    def writable(self) -> bool:
        """Whether it takes more now: nothing waits in the transport."""
        return self._writable

    def write(self, data: bytes, start: int = 0) -> bool:
        """Takes all of `data` from `start` on: writes to the socket, and gives the rest to the transport. Returns
        False if the stream must wait for `pump` before the next write, or if the connection is closed."""
        if not self._ours:
            return False
        rest = memoryview(data)[start:]
        if self._writable and not self._fresh:
            try:
                rest = rest[os.write(self._descriptor(), rest) :]
            except BlockingIOError:
                pass
            except OSError:
                self.abort()
                return False
            if not rest:
                return True
        self._fresh = False
        self._transport.write(rest)
        if not self._writable:
            self._hold(data)
        return self._writable

    def _descriptor(self) -> int:
        if self._fd < 0:
            self._fd = self._transport.get_extra_info("socket").fileno()
            self.send = partial(os.write, self._fd)
        return self._fd

    def waiting(self) -> int:
        """Bytes that the client has not read yet, in the transport and in the kernel; 0 if it is closed."""
        if not self._ours:
            return 0
        return self._transport.get_write_buffer_size() + in_kernel(self._descriptor())

    def close(self, last: bytes) -> None:
        """Sends the bytes that wait, then `last`, and closes the connection."""
        self.write(last)
        self._stop_writing()
        self._transport.close()

    def _stop_writing(self) -> None:
        super()._stop_writing()
        self.send = _nothing
        self._fd = -1

    def resume_writing(self) -> None:
        """Called when nothing waits in the transport any more: the stream goes on."""
        self._release_unread()
        if self._ours:
            self._writable = True
            if self.stream:
                self.stream.pump()


def _nothing(data: bytes) -> int:
    """Takes nothing of `data`: the connection is closed, or its descriptor was not needed yet. Returns 0."""
    return 0


def in_kernel(fd: int) -> int:
    """Bytes that the kernel holds for the client of the socket `fd`; 0 if it does not tell, as on macOS."""
    try:
        queued = fcntl.ioctl(fd, _SIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return 0
    return int(struct.unpack("i", queued)[0])
