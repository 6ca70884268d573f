"""One room of the log in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import islice

from roomcast.log.trimming import Trimmed
from roomcast.model.message import Message
from roomcast.model.retention import NO_CAP, RoomRule, RoomRules


class RoomIndex:
    """The seqs of a room's retained messages, oldest first, and how far it is trimmed."""

    __slots__ = (
        "_lost",
        "_max_bytes",
        "_max_messages",
        "_rules",
        "_seqs",
        "_start",
        "_trimmed",
        "_trimmed_at",
        "bytes",
        "capped",
        "deleted",
        "newest",
        "newest_at",
    )

    def __init__(self, trimmed: Trimmed) -> None:
        self.newest, self.newest_at, self._lost, _ = trimmed
        self._trimmed, self._trimmed_at = self.newest, self.newest_at
        self.capped = self.newest
        """Its last message that a cap took."""
        self.bytes = 0
        """The sum of its bodies; kept by the log, where rooms have rules."""
        self._rules: RoomRules | None = None
        """Those by which its caps were found."""
        self._max_messages = self._max_bytes = NO_CAP
        self.deleted: dict[int, int] = {}
        """The number of its deletion for each message that was deleted and is not trimmed yet."""
        self._seqs: list[int] = []
        self._start = 0
        """Where the retained ones begin in `_seqs`: cutting the front off one by one would move all others."""

    @property
    def trimmed(self) -> Trimmed:
        return Trimmed(self._trimmed, self._trimmed_at, self._lost, self.capped)

    @property
    def oldest(self) -> int:
        """Its oldest message; there must be one."""
        return self._seqs[self._start]

    def __len__(self) -> int:
        return len(self._seqs) - self._start

    def add(self, message: Message) -> None:
        self._seqs.append(message.seq)
        self.newest, self.newest_at = message.seq, message.stored_at

    def is_over(self, room: str, rules: RoomRules) -> bool:
        """Whether it has more than its rule leaves it, but for what is too old. `room` is its name."""
        if self._rules is not rules:
            self._take(rules, rules.of(room))
        return len(self._seqs) - self._start > self._max_messages or self.bytes > self._max_bytes

    def _take(self, rules: RoomRules, rule: RoomRule | None) -> None:
        self._rules = rules
        self._max_messages = (rule and rule.max_messages) or NO_CAP
        self._max_bytes = (rule and rule.max_bytes) or NO_CAP

    def trim(self, message: Message) -> bool:
        """Takes its oldest message off; whether it was the last one."""
        self._trimmed, self._trimmed_at = message.seq, message.stored_at
        if not self.deleted or self.deleted.pop(message.seq, None) is None:
            self.capped = message.seq
        self._lost += 1
        self._start += 1
        retained = len(self._seqs) - self._start
        if self._start > retained:
            del self._seqs[: self._start]
            self._start = 0
        return not retained

    def clear(self) -> None:
        """All of it is deleted."""
        self._lost += len(self)
        self._trimmed, self._trimmed_at = self.newest, self.newest_at
        self._seqs, self._start, self.bytes, self.deleted = [], 0, 0, {}

    def ascending(self, after: int) -> Iterable[int]:
        return islice(self._seqs, bisect_right(self._seqs, after, lo=self._start), None)

    def count(self, first: int, last: int) -> int:
        """How many of its messages lie between, both ends included, but for what was deleted."""
        seqs, start = self._seqs, self._start
        held = bisect_right(seqs, last, lo=start) - bisect_left(seqs, first, lo=start)
        return held - sum(first <= seq <= last for seq in self.deleted)

    def all(self) -> list[int]:
        return self._seqs[self._start :]
