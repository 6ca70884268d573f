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
    def single(self) -> str:
        """Tells whose streams in a URL replace each other; empty where none does."""
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
        self._singles: dict[str, Held] = {}
        self._replaced: OrderedDict[str, deque[float]] = OrderedDict()
        """When each ticket's stream was last replaced."""
        self._refused: OrderedDict[str, None] = OrderedDict()
        self.opened: Callable[[str], None] = lambda single: None
        """Called when a ticket's stream begins; it also replaces streams of other processes."""
        self.replaced: Callable[[str], None] = lambda single: None
        """Called when a ticket's stream was replaced."""

    def enter(self, stream: Held, *, replaces: bool, now: float) -> None:
        """A stream begins; with `replaces`, its holder's older one ends. `now` is seconds since 1970."""
        if (holder := stream.holder) is None:
            return
        if holder.until is not None:
            self._by_second.setdefault(math.ceil(holder.until), set()).add(stream)
        if replaces and holder.single:
            older = self._singles.get(holder.single)
            self._singles[holder.single] = stream
            self.opened(holder.single)
            if older is not None:
                self._replace(holder.single, older, now)

    def replace(self, single: str, now: float) -> None:
        """A ticket's stream has begun in another process: ends the one here."""
        if older := self._singles.pop(single, None):
            self._replace(single, older, now)

    def _replace(self, single: str, older: Held, now: float) -> None:
        self.count(single, now)
        self.replaced(single)
        older.withdraw("replaced")

    def leave(self, stream: Held) -> None:
        """A stream has ended."""
        if (holder := stream.holder) is None:
            return
        if holder.until is not None and (others := self._by_second.get(math.ceil(holder.until))):
            others.discard(stream)
            if not others:
                self._by_second.pop(math.ceil(holder.until), None)
        if self._singles.get(holder.single) is stream:
            del self._singles[holder.single]

    def ended(self, now: float) -> Iterator[Held]:
        """Streams whose right has ended; `now` is seconds since 1970."""
        for second in [second for second in self._by_second if second <= now]:
            yield from list(self._by_second.pop(second, ()))

    def refuses(self, single: str) -> bool:
        """Whether a ticket's streams were replaced so often that it is not taken any more."""
        return single in self._refused

    def count(self, single: str, now: float) -> None:
        """Counts that a ticket's stream was replaced, here or in another process."""
        times = self._replaced.setdefault(single, deque(maxlen=REPLACEMENTS + 1))
        times.append(now)
        self._replaced.move_to_end(single)
        if len(times) > REPLACEMENTS and now - times[0] < REPLACED_SECONDS:
            _keep(self._refused, single)
            self._replaced.pop(single)
        if len(self._replaced) > _WATCHED:
            self._replaced.popitem(last=False)


def _keep(kept: OrderedDict[str, None], single: str) -> None:
    kept[single] = None
    if len(kept) > _WATCHED:
        kept.popitem(last=False)
