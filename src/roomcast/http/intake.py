"""The memory of all requests that are being received: incomplete heads and bodies, and the bytes after a request
that is not answered yet.

The attack: a body of 1 MiB without its last byte was held for 60 s, and 400 of them took 433 MB.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final, Protocol

MEMORY: Final = "memory"
"""The reason for closing the slowest sender."""
_OVERHEAD = 2 * 1024
"""Memory that a request takes in addition to its received bytes, as measured: the connection's parser and its
objects. Counting it also bounds how many one-byte bodies are held, and how many senders are shed in one turn."""
_STEP = 16 * 1024
"""A sender counts as faster each time it has sent this many more bytes: one byte a second is not enough."""


class RequestSender(Protocol):
    """A connection that sends a request, or a request that a host's server receives."""

    def shed(self) -> None:
        """Drops everything received. Called once, when it is the slowest and the memory is needed."""
        ...


class Intake:
    """Counts the bytes received and not yet used."""

    def __init__(self, limit: int, closed: Counter[str]) -> None:
        """`limit` is in bytes; `closed` counts closed connections, by reason."""
        self._limit = limit
        self._closed = closed
        self._senders: OrderedDict[RequestSender, int] = OrderedDict()
        """Bytes held by each sender; the slowest sender first."""
        self.held = 0

    def hold(self, sender: RequestSender, size: int) -> None:
        """`sender` holds `size` bytes from now on; 0 forgets it. Sheds the slowest senders while all together hold
        too much, but never the last one: it may hold as much as a request may have."""
        before = self._senders.get(sender, 0)
        if size:
            size += _OVERHEAD
            self._senders[sender] = size
            if size // _STEP > before // _STEP:
                self._senders.move_to_end(sender)
        elif before:
            del self._senders[sender]
        self.held += size - before
        while self.held > self._limit and len(self._senders) > 1:
            self._shed()

    def _shed(self) -> None:
        slowest, size = self._senders.popitem(last=False)
        self.held -= size
        self._closed[MEMORY] += 1
        slowest.shed()
