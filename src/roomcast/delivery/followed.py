"""Which rooms are followed, and by how many: kept as streams come and go, so that nobody counts all of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

LISTED_ROOMS = 10_000
"""Followed rooms that hold nothing and are listed. A stranger can follow names without end; of those beyond only
such are listed that hold messages."""


class FollowedRooms:
    """The rooms of all streams, by name."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: list[str] = []
        """In order, and never more than are listed."""

    def add(self, rooms: Iterable[str]) -> None:
        """One more follows these rooms."""
        for room in rooms:
            count = self._counts.get(room, 0)
            self._counts[room] = count + 1
            if not count and len(self._names) < LISTED_ROOMS:
                insort(self._names, room)

    def drop(self, rooms: Iterable[str]) -> None:
        """One fewer follows these rooms."""
        for room in rooms:
            self._counts[room] -= 1
            if not self._counts[room]:
                del self._counts[room]
                self._forget(room)

    def count(self, room: str) -> int:
        """How many follow a room."""
        return self._counts.get(room, 0)

    def names(self, prefix: str, after: str | None, last: str | None) -> Iterator[str]:
        """Followed rooms whose names begin so, in order of code points: behind `after`, up to `last`."""
        start = bisect_left(self._names, prefix)
        if after is not None:
            start = max(start, bisect_right(self._names, after))
        end = len(self._names) if last is None else bisect_right(self._names, last)
        for index in range(start, end):
            if not self._names[index].startswith(prefix):
                return
            yield self._names[index]

    def _forget(self, room: str) -> None:
        at = bisect_left(self._names, room)
        if at < len(self._names) and self._names[at] == room:
            del self._names[at]
