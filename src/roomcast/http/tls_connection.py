"""A follower's connection over TLS: everything goes through the transport, a little at a time.

The transport encrypts all that it is given, at once and for this follower alone. Without TLS, slow followers share
the bytes of a burst; here each would hold its own copy: 0.9 MB, as measured with batches of 1 MB. So the transport
is given only what the client takes, and the rest waits as it is, shared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from roomcast.delivery.budget import Budget
from roomcast.http.connection import FollowerConnection, in_kernel

_SLICE = 16 * 1024
"""Bytes given to the transport at once: a TLS record (RFC 8446, section 5.1). The transport accepts more until the
loop has 64 KiB waiting for the socket, which is the loop's own bound."""


class TlsConnection(FollowerConnection):
    """A sink that is a TLS connection."""

    __slots__ = ("_ending", "_rest")

    def __init__(self, budget: Budget, on_closed: Callable[[], None]) -> None:
        super().__init__(budget, on_closed)
        self._rest: list[memoryview] = []
        """The bytes that were not given to the transport yet."""
        self._ending = False
        """Whether to close the connection once the transport has all of them."""

    def take(self, transport: asyncio.Transport) -> None:
        """Takes `transport`, which uses TLS, over from another protocol."""
        super().take(transport)
        # Call us when any byte waits, and when none does. A limit of 0 bytes is reached even when nothing waits.
        transport.set_write_buffer_limits(high=1)

    @property
    def writable(self) -> bool:
        """Whether it takes more bytes now."""
        return self._writable and not self._rest

    def send(self, data: bytes) -> int:
        """Takes nothing of `data`: only the transport writes to the socket. Returns 0."""
        return 0

    def write(self, data: bytes, start: int = 0) -> bool:
        """Takes all of `data` from `start` on. Returns False if the stream must wait for `pump` before the next
        write."""
        if not self._ours:
            return False
        self._rest.append(memoryview(data)[start:])
        if not self._fill_transport() and self._ours:
            self._hold(data)
        return self.writable

    def _fill_transport(self) -> bool:
        """Gives the transport as much as it accepts. Returns whether that was everything and it accepts more."""
        while self._rest and self._writable:
            first = self._rest[0]
            self._transport.write(first[:_SLICE])
            if len(first) > _SLICE:
                self._rest[0] = first[_SLICE:]
            elif self._rest:  # the connection was not closed by this write
                del self._rest[0]
        return self.writable

    def waiting(self) -> int:
        """Bytes that the client has not read yet, except those in the loop's own buffer of the socket."""
        if not self._ours:
            return 0
        socket = self._transport.get_extra_info("socket")
        if socket is None:  # asyncio calls `connection_lost` a turn after the connection was lost
            return 0
        ours = sum(map(len, self._rest)) + self._transport.get_write_buffer_size()
        return ours + in_kernel(socket.fileno())

    def close(self, last: bytes) -> None:
        """Sends the bytes that wait, then `last`, and closes the connection."""
        self.write(last)
        self._ours = False
        self._ending = True
        self._end_if_sent()

    def _end_if_sent(self) -> None:
        if not self._rest:
            self._stop_writing()
            self._transport.close()

    def _stop_writing(self) -> None:
        super()._stop_writing()
        self._rest.clear()

    # asyncio.Protocol

    def resume_writing(self) -> None:
        """Called when nothing waits in the transport any more: gives it more, and the stream goes on once all
        bytes are taken."""
        self._writable = self._ours or self._ending
        all_taken = self._fill_transport()
        if all_taken:
            self._release_unread()
        if all_taken and self._ours and self.stream:
            self.stream.pump()
        elif self._ending:
            self._end_if_sent()
