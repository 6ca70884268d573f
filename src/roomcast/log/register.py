"""Lists the messages of each room, including those that are gone, to count how many a room lost after any
position.

A message's `prev` shows that its room lost messages, but not how many. A client may resume with the id of a
message that is gone; only a list of the room's messages tells how many came after that one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

REMEMBERED = 100_000
"""The register holds at least this many of the newest messages, and at least twice as many as the log retains."""


def remembered(max_messages: int) -> int:
    """How many of the newest messages a log's register must hold."""
    return max(REMEMBERED, 2 * max_messages)


class Register:
    """The seqs of a log's newest messages, by room. Bounded; 8 bytes a message."""

    __slots__ = ("_count", "_from", "_most", "_newer", "_older", "reach", "since")

    def __init__(self, since: int, most: int) -> None:
        """It will list the messages after the seq `since`, and always at least the newest `most` of them."""
        self._most = most
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
        """Adds the room's next messages. Call `reached` once the messages of all rooms are added."""
        self._newer.setdefault(room, array("q")).extend(seqs)
        self._count += len(seqs)

    def reached(self, seq: int) -> None:
        """All messages up to `seq` are listed now."""
        self.reach = seq
        if self._count >= self._most:
            self._older, self._newer = self._newer, {}
            self.since, self._from, self._count = self._from, seq, 0

    def between(self, room: str, after: int, last: int) -> int:
        """An upper bound for the room's messages with after < seq <= last; exact if all of them are listed."""
        known = sum(_between(half.get(room, ()), after, last) for half in (self._older, self._newer))
        before = max(0, min(last, self.since) - after)
        behind = max(0, last - max(after, self.reach))
        return known + before + behind


def _between(seqs: Sequence[int], after: int, last: int) -> int:
    return bisect_right(seqs, last) - bisect_right(seqs, after)
