"""The idempotency keys of the log in memory. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from roomcast.log.base import Idempotency
from roomcast.log.sequencer import GONE_KEYS, KEY_MS, Key, KeyedAppend, NewKey


class MemoryKeys:
    """Each key is kept as long as its first message, and for at least `KEY_MS`. If more than `GONE_KEYS` keys
    outlive their messages, the oldest of them go sooner."""

    def __init__(self) -> None:
        self.known: dict[Key, KeyedAppend] = {}
        """The append of each key that is kept."""
        self.by_seq: dict[int, Key] = {}
        """The key of each append whose first message is retained, by the seq of that message."""
        self.gone: OrderedDict[Key, None] = OrderedDict()
        """The keys whose first message is gone, in the order in which those messages went."""

    def add(self, keys: Iterable[NewKey]) -> None:
        """Notes new `keys`, whose messages are stored. The sequencer has already added them to `known`."""
        for new in keys:
            self.by_seq[new.append.first] = (new.scope, new.key)

    def drop(self, seq: int) -> None:
        """Notes that the message with this `seq` is gone."""
        if key := self.by_seq.pop(seq, None):
            self.gone[key] = None

    def expire(self, idempotency: Idempotency | None, now: int) -> None:
        """Forgets the first keys of `gone`, as far as they are no longer kept at the time `now` (ms since 1970).
        Also forgets the key of `idempotency` if it is no longer kept."""
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
        # It may stand in `gone` behind a younger key whose message went first.
        if key in self.gone and self.known[key].stored_at <= now - KEY_MS:
            del self.gone[key], self.known[key]
