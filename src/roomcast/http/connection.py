"""A follower's connection: the socket, and nothing of the request it came with.

Once a follow is accepted, its transport is given this protocol. Writes go straight to the socket while nothing
waits in the transport, and through the transport otherwise. Over TLS a message would go into the connection in
plain text that way: `tls_connection` is for those.
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


def unnoticed() -> None:
    """Nobody counts this connection."""


class FollowerConnection(asyncio.Protocol):
    """What both kinds of connection do alike: belong to a follower, and end."""

    __slots__ = ("_answers", "_held", "_left", "_ours", "_reason", "_transport", "_writable", "stream")

    def __init__(self, answers: Budget, left: Callable[[], None] = unnoticed) -> None:
        """`left` is called when the connection is gone."""
        self._left = left
        self._answers = answers
        self._held: list[bytes] | None = None
        """What its client has yet to take, as it is counted."""
        self._reason = "client"
        """Why it ends, where it does."""
        self._transport = cast(asyncio.Transport, None)
        self._ours = False
        """Whether it may be written to."""
        self._writable = False
        """Whether nothing waits in the transport."""
        self.stream: Stream | None = None

    def take(self, transport: asyncio.Transport) -> None:
        """The transport is ours from here on."""
        self._transport = transport
        self._ours = True
        transport.set_protocol(self)
        self._writable = transport.get_write_buffer_size() == 0

    def abort(self) -> None:
        """Ends at once."""
        self._let_go()
        self._transport.abort()

    def _let_go(self) -> None:
        self._ours = False
        self._writable = False

    def _hold(self, data: bytes) -> None:
        """Counts what waits. Where there is no memory for it, the client is cut, and resumes."""
        try:
            self._answers.hold(data)
        except Overloaded:
            self._reason = "overload"
            self.abort()
        else:
            self._held = [*(self._held or ()), data]

    def _taken(self) -> None:
        """Nothing waits any more."""
        held, self._held = self._held, None
        for data in held or ():
            self._answers.drop(data)

    # asyncio.Protocol. What the client sends after its request is dropped: a follower has nothing to say.

    def pause_writing(self) -> None:
        self._writable = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        self._let_go()
        self._taken()
        if self.stream:
            # TCP_USER_TIMEOUT: the kernel found that the client takes nothing before we did.
            self.stream.lost("slow" if isinstance(exc, TimeoutError) else self._reason)
            self.stream = None


class SocketConnection(FollowerConnection):
    """A sink that is a socket."""

    __slots__ = ("_fd", "_fresh", "send")

    def __init__(self, answers: Budget, left: Callable[[], None] = unnoticed) -> None:
        super().__init__(answers, left)
        self._fd = -1
        """The socket's descriptor, once asked for and as long as it is certain to be ours."""
        self._fresh = True
        """Whether nothing was written yet. What is first goes through the transport: uvloop makes a socket object
        for whoever asks for the descriptor, which takes an eighth of a follower's coming in."""
        self.send: Callable[[bytes], int] = _nothing

    def take(self, transport: asyncio.Transport) -> None:
        super().take(transport)
        transport.set_write_buffer_limits(high=0)  # hear of the first byte that waits, and of the last

    @property
    def writable(self) -> bool:
        return self._writable

    def write(self, data: bytes, start: int = 0) -> bool:
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
        if not self._ours:
            return 0
        return self._transport.get_write_buffer_size() + in_kernel(self._descriptor())

    def close(self, last: bytes) -> None:
        self.write(last)
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        super()._let_go()
        self.send = _nothing
        self._fd = -1

    def resume_writing(self) -> None:
        self._taken()
        if self._ours:
            self._writable = True
            if self.stream:
                self.stream.pump()


def _nothing(data: bytes) -> int:
    """How much a connection takes that is no more ours."""
    return 0


def in_kernel(fd: int) -> int:
    """Bytes the kernel holds for the client; 0 where it does not say, as macOS does not of a socket."""
    try:
        queued = fcntl.ioctl(fd, _SIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return 0
    return int(struct.unpack("i", queued)[0])
