"""The idempotency keys of the log in memory. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from roomcast.log.base import Idempotency
from roomcast.log.sequencer import GONE_KEYS, KEY_MS, Key, KeyedAppend, NewKey


class MemoryKeys:
    """Each key is kept as long as its first message, and for at least `KEY_MS`."""

    def __init__(self) -> None:
        self.known: dict[Key, KeyedAppend] = {}
        self.of: dict[int, Key] = {}
        """The key of each append whose first message is retained, by the seq of that message."""
        self.gone: OrderedDict[Key, None] = OrderedDict()
        """The keys whose first message is gone, in the order in which those messages went."""

    def add(self, keys: Iterable[NewKey]) -> None:
        """Notes keys that were stored. The sequencer has already added them to `known`."""
        for new in keys:
            self.of[new.append.first] = (new.scope, new.key)

    def drop(self, seq: int) -> None:
        """The message with this seq is gone."""
        if key := self.of.pop(seq, None):
            self.gone[key] = None

    def expire(self, idempotency: Idempotency | None, now: int) -> None:
        """Forgets the keys that are no longer kept, and `idempotency` if its time is over."""
        self._expire_oldest(now)
        if idempotency:
            self._expire_one((idempotency.scope, idempotency.key), now)

    def clamp_times(self, now: int) -> None:
        """Moves times from the future to `now` (ms since 1970)."""
        for key, kept in self.known.items():
            if kept.stored_at > now:
                self.known[key] = kept._replace(stored_at=now)

    def _expire_oldest(self, now: int) -> None:
        while self.gone:
            key = next(iter(self.gone))
            if self.known[key].stored_at > now - KEY_MS and len(self.gone) <= GONE_KEYS:
                return
            del self.gone[key], self.known[key]

    def _expire_one(self, key: Key, now: int) -> None:
        # It may be queued behind a younger key whose message went first.
        if key in self.gone and self.known[key].stored_at <= now - KEY_MS:
            del self.gone[key], self.known[key]
