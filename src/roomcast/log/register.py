"""Lists the messages of each room, including those that are gone, to count how many a room lost after any
position.

A message's `prev` shows that its room lost messages, but not how many. A client may resume with the id of a
message that is gone; only a list of the room's messages tells how many came after that one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

LEAST_REGISTERED = 100_000
"""A register lists at least this many of the newest messages, and at least twice as many as the log retains."""


def register_size(max_messages: int) -> int:
    """How many of the newest messages a register must list if the log retains at most `max_messages`."""
    return max(LEAST_REGISTERED, 2 * max_messages)


class Register:
    """The seqs of a log's newest messages, by room. Bounded; 8 bytes a message."""

    __slots__ = ("_count", "_from", "_least", "_newer", "_older", "reach", "since")

    def __init__(self, since: int, least: int) -> None:
        """It will list the messages after the seq `since`: always at least the newest `least` of them, and at most
        about twice as many."""
        self._least = least
        self.begin(since)

    def begin(self, since: int) -> None:
        """Empties the register. It will list the messages after the seq `since`."""
        self.since = since
        """It lists all messages with since < seq <= reach."""
        self.reach = since
        # Two halves: the older one is dropped as a whole, without a walk over all rooms.
        self._older: dict[str, array[int]] = {}
        self._newer: dict[str, array[int]] = {}
        self._from = since
        """All messages in `_newer` come after this one."""
        self._count = 0
        """How many are in `_newer`."""

    def note(self, room: str, seqs: Sequence[int]) -> None:
        """Adds `seqs`, the next messages of `room`, in order. Call `reached` once the messages of all rooms are
        added."""
        self._newer.setdefault(room, array("q")).extend(seqs)
        self._count += len(seqs)

    def reached(self, seq: int) -> None:
        """Notes that all messages up to `seq` are listed now."""
        self.reach = seq
        if self._count >= self._least:
            self._older, self._newer = self._newer, {}
            self.since, self._from, self._count = self._from, seq, 0

    def between(self, room: str, after: int, last: int) -> int:
        """An upper bound for the messages of `room` with `after` < seq <= `last`; exact if all of them are
        listed."""
        listed = sum(_between(half.get(room, ()), after, last) for half in (self._older, self._newer))
        older = max(0, min(last, self.since) - after)
        newer = max(0, last - max(after, self.reach))
        return listed + older + newer


def _between(seqs: Sequence[int], after: int, last: int) -> int:
    return bisect_right(seqs, last) - bisect_right(seqs, after)
