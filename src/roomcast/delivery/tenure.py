"""Tenure: when streams must end. Their holders' rights expire, and a ticket in a URL has one stream at a time.

Streams are grouped by the second in which they expire: only those that are due are looked at, and none needs a
timer.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Protocol

REPLACEMENTS = 10
"""How often a ticket's stream may be replaced within `REPLACED_SECONDS`. One EventSource reconnects every few
seconds; two with the same ticket would end each other's streams for ever."""
REPLACED_SECONDS = 60.0
_WATCHED = 10_000
"""Most tickets whose replacements are counted, and most that are refused."""


class Holder(Protocol):
    """The holder of a right to read. All streams of a credential share one."""

    @property
    def until(self) -> float | None:
        """When the right ends, in seconds since 1970; None if never."""
        ...

    @property
    def ticket_nonce(self) -> str:
        """The nonce of its ticket; empty without one. Streams that were opened by URLs with the same ticket
        replace each other."""
        ...


class HeldStream(Protocol):
    """A stream of a holder."""

    holder: Holder | None

    def withdraw(self, reason: str) -> None:
        """Ends the stream, and tells its client the reason."""
        ...


class Tenures:
    """All streams that expire, or replace each other."""

    def __init__(self) -> None:
        self._by_second: dict[int, set[HeldStream]] = {}
        self._by_nonce: dict[str, HeldStream] = {}
        self._replaced: OrderedDict[str, deque[float]] = OrderedDict()
        """The times at which each ticket's stream was replaced, the last few of them, in seconds since 1970."""
        self._refused: OrderedDict[str, None] = OrderedDict()
        self.opened: Callable[[str], None] = lambda nonce: None
        """Called when a ticket's stream begins, so that other processes end their streams of the ticket."""
        self.replaced: Callable[[str], None] = lambda nonce: None
        """Called when a ticket's stream was replaced."""

    def enter(self, stream: HeldStream, *, replaces: bool, now: float) -> None:
        """Adds a stream that begins. With `replaces`, its holder's older stream ends. `now` is seconds since
        1970."""
        if (holder := stream.holder) is None:
            return
        if holder.until is not None:
            self._by_second.setdefault(math.ceil(holder.until), set()).add(stream)
        if replaces and holder.ticket_nonce:
            older = self._by_nonce.get(holder.ticket_nonce)
            self._by_nonce[holder.ticket_nonce] = stream
            self.opened(holder.ticket_nonce)
            if older is not None:
                self._replace(holder.ticket_nonce, older, now)

    def replace(self, nonce: str, now: float) -> None:
        """Ends the stream of the ticket `nonce` here, since one has begun in another process. `now` is seconds
        since 1970."""
        if older := self._by_nonce.pop(nonce, None):
            self._replace(nonce, older, now)

    def _replace(self, nonce: str, older: HeldStream, now: float) -> None:
        self.count_replacement(nonce, now)
        self.replaced(nonce)
        older.withdraw("replaced")

    def leave(self, stream: HeldStream) -> None:
        """Removes a stream that has ended."""
        if (holder := stream.holder) is None:
            return
        if holder.until is not None and (others := self._by_second.get(math.ceil(holder.until))):
            others.discard(stream)
            if not others:
                self._by_second.pop(math.ceil(holder.until), None)
        if self._by_nonce.get(holder.ticket_nonce) is stream:
            del self._by_nonce[holder.ticket_nonce]

    def ended(self, now: float) -> Iterator[HeldStream]:
        """Removes and yields the streams whose right has ended; `now` is seconds since 1970."""
        for second in [second for second in self._by_second if second <= now]:
            yield from list(self._by_second.pop(second, ()))

    def refuses(self, nonce: str) -> bool:
        """Whether the ticket `nonce` is refused because its streams replaced each other too often."""
        return nonce in self._refused

    def count_replacement(self, nonce: str, now: float) -> None:
        """Counts that the stream of the ticket `nonce` was replaced, here or in another process. `now` is seconds
        since 1970."""
        times = self._replaced.setdefault(nonce, deque(maxlen=REPLACEMENTS + 1))
        times.append(now)
        self._replaced.move_to_end(nonce)
        if len(times) > REPLACEMENTS and now - times[0] < REPLACED_SECONDS:
            _keep(self._refused, nonce)
            self._replaced.pop(nonce)
        if len(self._replaced) > _WATCHED:
            self._replaced.popitem(last=False)


def _keep(kept: OrderedDict[str, None], nonce: str) -> None:
    kept[nonce] = None
    if len(kept) > _WATCHED:
        kept.popitem(last=False)
