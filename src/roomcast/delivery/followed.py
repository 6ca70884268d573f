"""The number of followers of each room, updated as streams begin and end."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

LISTED_ROOMS = 10_000
"""How many followed rooms are listed although they may have no messages. A stranger can follow any number of
names; a room beyond this number is listed only if it has messages."""


class FollowedRooms:
    """The rooms that streams follow by name."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._names: list[str] = []
        """The listed rooms, sorted."""

    def add(self, rooms: Iterable[str]) -> None:
        """Counts one more follower of each of these rooms."""
        for room in rooms:
            count = self._counts.get(room, 0)
            self._counts[room] = count + 1
            if not count and len(self._names) < LISTED_ROOMS:
                insort(self._names, room)

    def drop(self, rooms: Iterable[str]) -> None:
        """Counts one fewer follower of each of these rooms."""
        for room in rooms:
            self._counts[room] -= 1
            if not self._counts[room]:
                del self._counts[room]
                self._forget(room)

    def count(self, room: str) -> int:
        """The number of a room's followers."""
        return self._counts.get(room, 0)

    def names(self, prefix: str, after: str | None, last: str | None) -> Iterator[str]:
        """The listed rooms with this prefix, in order of code points: after `after`, up to and including
        `last`."""
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
