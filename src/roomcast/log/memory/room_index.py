"""One room of the log in memory: the seqs of its messages."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice

from roomcast.log.trimming import Trimming
from roomcast.model.message import Message
from roomcast.model.retention import NO_CAP, RoomRule

LISTED_GONE = 250
"""At least this many seqs of gone messages stay listed, and at least half as many as the room retains. This is up
to 4 KB for a small room."""


class RoomIndex:
    """The seqs of a room's retained messages and of those trimmed last, oldest first; and how far it is
    trimmed."""

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

    def __init__(self, trimmed: Trimming) -> None:
        """A room without messages. `trimmed`: how far it was trimmed when the log last knew it."""
        self.newest, self.newest_at, self._lost, _ = trimmed
        self._trimmed, self._trimmed_at = self.newest, self.newest_at
        self.capped = self.newest
        """The last message that a cap removed."""
        self.bytes = 0
        """The sum of its bodies. The log keeps it up to date only if some rule limits bytes."""
        self._max_messages = NO_CAP
        self.max_bytes = NO_CAP
        """The bytes that the rule allows."""
        self.limit = NO_CAP
        """The room can have more messages than its rule allows only if `seqs` is longer than this. Comparing them
        saves a call of `is_over` for each message."""
        self.deleted: dict[int, int] = {}
        """The messages that were deleted and are not trimmed yet, each with the number of its deletion."""
        self.seqs = array("q")
        self._start = 0
        """The index in `seqs` where the retained messages begin. The gone messages before it tell how many a
        follower lost."""
        self._listed_after = self.newest
        """`seqs` has all of the room's messages after this seq."""

    @property
    def trimmed(self) -> Trimming:
        """How far the room is trimmed. Messages deleted between others count once they are trimmed."""
        return Trimming(self._trimmed, self._trimmed_at, self._lost, self.capped)

    @property
    def oldest(self) -> int:
        """The seq of its oldest retained message. The room must not be empty."""
        return self.seqs[self._start]

    def __len__(self) -> int:
        return len(self.seqs) - self._start

    def add(self, message: Message) -> None:
        """Adds the room's next `message`. Its size is for the log to add to `bytes`."""
        self.seqs.append(message.seq)
        self.newest, self.newest_at = message.seq, message.stored_at

    def is_over(self) -> bool:
        """Whether it has more messages or bytes than its rule allows; ages are not checked."""
        self.limit = self._start + self._max_messages
        return len(self.seqs) > self.limit or self.bytes > self.max_bytes

    def apply(self, rule: RoomRule | None) -> None:
        """Applies a new `rule`; None: the room has none now. Removes nothing."""
        self._max_messages = (rule and rule.max_messages) or NO_CAP
        self.max_bytes = (rule and rule.max_bytes) or NO_CAP
        self.limit = self._start + self._max_messages

    def trim(self, message: Message) -> bool:
        """Removes the oldest message, which is `message`. Returns whether the room is empty now."""
        self._trimmed, self._trimmed_at = message.seq, message.stored_at
        if not self.deleted or self.deleted.pop(message.seq, None) is None:
            self.capped = message.seq
        self._lost += 1
        self._start += 1
        retained = len(self.seqs) - self._start
        if self._start > 2 * LISTED_GONE and self._start > retained:
            self._shorten(retained)
        return not retained

    def _shorten(self, retained: int) -> None:
        """Forgets the oldest gone seqs, at least half of them, at once: removing them one by one would move all
        others each time."""
        cut = self._start - max(LISTED_GONE, retained // 2)
        self._listed_after = self.seqs[cut - 1]
        del self.seqs[:cut]
        self._start -= cut
        self.limit -= cut

    def clear(self) -> None:
        """Removes all messages: the room was deleted."""
        self._lost += len(self)
        self._trimmed, self._trimmed_at = self.newest, self.newest_at
        self._start, self.bytes, self.deleted = len(self.seqs), 0, {}
        if self._start > 2 * LISTED_GONE:
            self._shorten(0)

    def ascending(self, after: int) -> Iterable[int]:
        """The seqs of its retained messages after the seq `after`, oldest first."""
        return islice(self.seqs, bisect_right(self.seqs, after, lo=self._start), None)

    def count(self, first: int, last: int) -> int:
        """How many retained messages have `first` <= seq <= `last`, without deleted ones."""
        seqs, start = self.seqs, self._start
        retained = bisect_right(seqs, last, lo=start) - bisect_left(seqs, first, lo=start)
        return retained - sum(first <= seq <= last for seq in self.deleted)

    def lost_after(self, after: int) -> int:
        """An upper bound for the gone messages after the seq `after`; exact if all of them are still listed."""
        listed = self._start - bisect_right(self.seqs, after, hi=self._start)
        return listed + max(0, self._listed_after - after)

    def all(self) -> Sequence[int]:
        """The seqs of all retained messages, oldest first."""
        return self.seqs[self._start :]
