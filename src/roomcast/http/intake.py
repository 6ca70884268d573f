"""The memory that all requests share that are being received: heads and bodies that are not complete, and what was
sent behind a request that is not answered yet.

The attack: a body of 1 MiB without its last byte was held for 60 s, and 400 of them took 433 MB.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final, Protocol

MEMORY: Final = "memory"
"""Why the slowest sender is closed."""
_OVERHEAD = 2 * 1024
"""Bytes that a request takes beside what was received of it: a connection's parser, as measured, and its objects.
So a crowd of bodies of a byte is bounded, too, and making room closes few of them in a turn of the loop."""
_STEP = 16 * 1024
"""A sender is as slow as its last so many bytes: one byte a second does not make it a fast one."""


class Sender(Protocol):
    """A connection, or a request of somebody else's server, that is being received."""

    def shed(self) -> None:
        """Lets go of all that was received. Called once, when it is the slowest and the memory is needed."""
        ...


class Intake:
    """Bytes received and not yet used."""

    def __init__(self, limit: int, closed: Counter[str]) -> None:
        """`limit` is in bytes; `closed` counts who is closed, by reason."""
        self._limit = limit
        self._closed = closed
        self._senders: OrderedDict[Sender, int] = OrderedDict()
        """What each of them holds, in bytes. The first is the one whose last step began longest ago."""
        self.held = 0

    def hold(self, sender: Sender, size: int) -> None:
        """`sender` holds `size` bytes from now on; with 0 it is forgotten. Sheds the slowest where all of them
        hold too much; one alone may hold as much as a request may have."""
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
