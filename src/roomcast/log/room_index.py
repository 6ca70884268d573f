"""One room of the log in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice

from roomcast.log.trimming import Trimmed
from roomcast.model.message import Message
from roomcast.model.retention import NO_CAP, RoomRule

GONE = 250
"""At least this many seqs of gone messages are kept, and half as many as the room retains: up to 4 KB for each
small room."""


class RoomIndex:
    """The seqs of a room's retained messages, oldest first, how far it is trimmed, and the seqs of those that went
    last."""

    __slots__ = (
        "_listed_after",
        "_lost",
        "_max_messages",
        "_start",
        "_trimmed",
        "_trimmed_at",
        "bytes",
        "capped",
        "deleted",
        "limit",
        "max_bytes",
        "newest",
        "newest_at",
        "seqs",
    )

    def __init__(self, trimmed: Trimmed) -> None:
        self.newest, self.newest_at, self._lost, _ = trimmed
        self._trimmed, self._trimmed_at = self.newest, self.newest_at
        self.capped = self.newest
        """Its last message that a cap took."""
        self.bytes = 0
        """The sum of its bodies; kept by the log, where rooms have rules."""
        self._max_messages = NO_CAP
        self.max_bytes = NO_CAP
        """The bytes that its rule allows."""
        self.limit = NO_CAP
        """The room can be over its rule's messages only if `seqs` is longer than this."""
        self.deleted: dict[int, int] = {}
        """The number of its deletion for each message that was deleted and is not trimmed yet."""
        self.seqs = array("q")
        self._start = 0
        """The index in `seqs` where the retained messages begin. Those before are gone; they tell how many a
        follower lost."""
        self._listed_after = self.newest
        """All messages of the room after this one are in `seqs`."""

    @property
    def trimmed(self) -> Trimmed:
        return Trimmed(self._trimmed, self._trimmed_at, self._lost, self.capped)

    @property
    def oldest(self) -> int:
        """Its oldest message; there must be one."""
        return self.seqs[self._start]

    def __len__(self) -> int:
        return len(self.seqs) - self._start

    def add(self, message: Message) -> None:
        self.seqs.append(message.seq)
        self.newest, self.newest_at = message.seq, message.stored_at

    def is_over(self) -> bool:
        """Whether it has more messages or bytes than its rule allows; ages are not checked."""
        self.limit = self._start + self._max_messages
        return len(self.seqs) > self.limit or self.bytes > self.max_bytes

    def take(self, rule: RoomRule | None) -> None:
        """Applies a new rule."""
        self._max_messages = (rule and rule.max_messages) or NO_CAP
        self.max_bytes = (rule and rule.max_bytes) or NO_CAP
        self.limit = self._start + self._max_messages

    def trim(self, message: Message) -> bool:
        """Takes its oldest message off; whether it was the last one."""
        self._trimmed, self._trimmed_at = message.seq, message.stored_at
        if not self.deleted or self.deleted.pop(message.seq, None) is None:
            self.capped = message.seq
        self._lost += 1
        self._start += 1
        retained = len(self.seqs) - self._start
        if self._start > 2 * GONE and self._start > retained:
            self._unlist(retained)
        return not retained

    def _unlist(self, retained: int) -> None:
        """Forgets the older half of the gone seqs at once: removing them one by one would move all others each
        time."""
        cut = self._start - max(GONE, retained // 2)
        self._listed_after = self.seqs[cut - 1]
        del self.seqs[:cut]
        self._start -= cut
        self.limit -= cut

    def clear(self) -> None:
        """All of it is deleted."""
        self._lost += len(self)
        self._trimmed, self._trimmed_at = self.newest, self.newest_at
        self._start, self.bytes, self.deleted = len(self.seqs), 0, {}
        if self._start > 2 * GONE:
            self._unlist(0)

    def ascending(self, after: int) -> Iterable[int]:
        return islice(self.seqs, bisect_right(self.seqs, after, lo=self._start), None)

    def count(self, first: int, last: int) -> int:
        """How many of its messages lie between, both ends included, but for what was deleted."""
        seqs, start = self.seqs, self._start
        held = bisect_right(seqs, last, lo=start) - bisect_left(seqs, first, lo=start)
        return held - sum(first <= seq <= last for seq in self.deleted)

    def lost_after(self, after: int) -> int:
        """Upper bound of its gone messages after `after`; exact if all of them are listed."""
        listed = self._start - bisect_right(self.seqs, after, hi=self._start)
        return listed + max(0, self._listed_after - after)

    def all(self) -> Sequence[int]:
        return self.seqs[self._start :]
