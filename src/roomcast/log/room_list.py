"""The rooms in both orders in which they are listed, for backends that know their rooms in memory. No I/O.

A new message costs the same however many rooms there are, except that a new name moves the pointers behind it (the
C library's memmove: 20 µs for 100,000 rooms).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from sys import maxunicode

from roomcast.log.base import RoomSort


class RoomList:
    """Rooms with the seq of their newest message."""

    def __init__(self) -> None:
        self._names: list[str] = []
        """Sorted by code points."""
        self._newest: dict[str, int] = {}
        """In the order of their newest message: a room with a new message moves to the end."""
        self._past_rooms: list[str] = []
        self._past_seqs: list[int] = []
        """A copy of `_newest`, made by a walk from a seq, since a dict cannot be searched. 16 bytes a room.
        Entries that have changed since then are skipped: their rooms have moved to the end, or are gone."""

    def note(self, room: str, seq: int) -> None:
        """Notes that `room` has a new message. Its `seq` is newer than that of every other room."""
        if self._newest.pop(room, None) is None:
            insort(self._names, room)
        self._newest[room] = seq

    def drop(self, room: str) -> None:
        """Removes `room` from the list, if it is in it."""
        if self._newest.pop(room, None) is not None:
            del self._names[bisect_left(self._names, room)]

    def count(self, prefix: str) -> int:
        """How many names begin with `prefix`."""
        return len(self._span(prefix))

    def clear(self) -> None:
        """Removes all rooms."""
        self._names.clear()
        self._newest.clear()
        self._past_rooms, self._past_seqs = [], []

    def walk(self, prefix: str, sort: RoomSort, after: str | int | None) -> Iterator[str]:
        """The rooms whose names begin with `prefix`, in the order `sort`. By name: only those after the name
        `after`. Newest first: only those whose newest message comes before the seq `after`. The list must not
        change during the walk."""
        if sort == "name":
            return self._by_name(prefix, None if after is None else str(after))
        return self._by_newest(prefix, None if after is None else int(after))

    def _by_name(self, prefix: str, after: str | None) -> Iterator[str]:
        span = self._span(prefix)
        start = span.start if after is None else max(span.start, bisect_right(self._names, after))
        return (self._names[index] for index in range(start, span.stop))

    def _span(self, prefix: str) -> range:
        """The indexes of the names that begin with `prefix`."""
        end = prefix_end(prefix)
        stop = len(self._names) if end is None else bisect_left(self._names, end)
        return range(bisect_left(self._names, prefix), stop)

    def _by_newest(self, prefix: str, before: int | None) -> Iterator[str]:
        if before is None:
            return (room for room in reversed(self._newest) if room.startswith(prefix))
        if not self._past_seqs or self._past_seqs[-1] < before - 1:
            self._past_rooms, self._past_seqs = list(self._newest), list(self._newest.values())
        return self._by_newest_before(prefix, bisect_left(self._past_seqs, before))

    def _by_newest_before(self, prefix: str, end: int) -> Iterator[str]:
        """The rooms of the first `end` entries of the copy that have not changed, from the end."""
        rooms, seqs = self._past_rooms, self._past_seqs
        for index in range(end - 1, -1, -1):
            room = rooms[index]
            if room.startswith(prefix) and self._newest.get(room) == seqs[index]:
                yield room


def prefix_end(prefix: str) -> str | None:
    """The first string, by code points, that sorts after all strings that begin with `prefix`; None if there is
    none."""
    kept = prefix.rstrip(chr(maxunicode))
    return kept[:-1] + _next(kept[-1]) if kept else None


def _next(character: str) -> str:
    # Skips the surrogates: they are not characters, and UTF-8 cannot encode them.
    return chr(0xE000) if character == "\ud7ff" else chr(ord(character) + 1)
