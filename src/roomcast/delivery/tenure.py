"""How long streams may go on: their holders' rights end, and a ticket in a URL has one stream at a time.

Streams are kept by the second in which they end, so that nobody looks at those whose time has not come, and none
has a timer of its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Protocol

REPLACEMENTS = 10
"""How often a ticket's stream may be replaced by another within `REPLACED_SECONDS`. An EventSource comes back once
in some seconds; two that have one ticket throw each other out for ever."""
REPLACED_SECONDS = 60.0
_WATCHED = 10_000
"""Tickets whose replacements are counted, and of those that are refused for them."""


class Holder(Protocol):
    """Somebody who may read, as far as streams know them. One is shared by all streams of a credential."""

    @property
    def until(self) -> float | None:
        """When the right ends, in seconds since 1970; None where it does not."""
        ...

    @property
    def ticket_nonce(self) -> str:
        """The nonce of its ticket; empty without one. Streams that a URL with the same ticket opens replace each
        other."""
        ...


class Held(Protocol):
    """A stream, as it is known here."""

    holder: Holder | None

    def withdraw(self, reason: str) -> None:
        """Ends it, and tells its client why."""
        ...


class Tenures:
    """All streams that end by a right, or replace each other."""

    def __init__(self) -> None:
        self._by_second: dict[int, set[Held]] = {}
        self._by_nonce: dict[str, Held] = {}
        self._replaced: OrderedDict[str, deque[float]] = OrderedDict()
        """When each ticket's stream was last replaced."""
        self._refused: OrderedDict[str, None] = OrderedDict()
        self.opened: Callable[[str], None] = lambda nonce: None
        """Called when a ticket's stream begins; it also replaces streams of other processes."""
        self.replaced: Callable[[str], None] = lambda nonce: None
        """Called when a ticket's stream was replaced."""

    def enter(self, stream: Held, *, replaces: bool, now: float) -> None:
        """A stream begins; with `replaces`, its holder's older one ends. `now` is seconds since 1970."""
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
        """A ticket's stream has begun in another process: ends the one here."""
        if older := self._by_nonce.pop(nonce, None):
            self._replace(nonce, older, now)

    def _replace(self, nonce: str, older: Held, now: float) -> None:
        self.count(nonce, now)
        self.replaced(nonce)
        older.withdraw("replaced")

    def leave(self, stream: Held) -> None:
        """A stream has ended."""
        if (holder := stream.holder) is None:
            return
        if holder.until is not None and (others := self._by_second.get(math.ceil(holder.until))):
            others.discard(stream)
            if not others:
                self._by_second.pop(math.ceil(holder.until), None)
        if self._by_nonce.get(holder.ticket_nonce) is stream:
            del self._by_nonce[holder.ticket_nonce]

    def ended(self, now: float) -> Iterator[Held]:
        """Streams whose right has ended; `now` is seconds since 1970."""
        for second in [second for second in self._by_second if second <= now]:
            yield from list(self._by_second.pop(second, ()))

    def refuses(self, nonce: str) -> bool:
        """Whether a ticket's streams were replaced so often that it is not taken any more."""
        return nonce in self._refused

    def count(self, nonce: str, now: float) -> None:
        """Counts that a ticket's stream was replaced, here or in another process."""
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
