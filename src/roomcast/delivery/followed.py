"""The followers of each room, by name or by prefix: counted as streams come and go, not by each request."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterator

from roomcast.model.rooms import Selection

LISTED_ROOMS = 10_000
"""The most followed rooms without messages that are listed: a stranger can follow names without end."""


class FollowedRooms:
    """The rooms and prefixes of all streams."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        """Streams of each room that name it, and do not cover it by a prefix as well."""
        self._prefixes: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        """How many prefixes there are of each length."""
        self._names: list[str] = []
        """The listed rooms, sorted."""

    def add(self, selection: Selection) -> None:
        """A stream of these rooms starts."""
        for room in _named(selection):
            count = self._counts.get(room, 0)
            self._counts[room] = count + 1
            if not count and len(self._names) < LISTED_ROOMS:
                insort(self._names, room)
        for prefix in selection.prefixes:
            self._prefixes[prefix] += 1
            if self._prefixes[prefix] == 1:
                self._lengths[len(prefix)] += 1

    def drop(self, selection: Selection) -> None:
        """A stream of these rooms ends."""
        for room in _named(selection):
            self._counts[room] -= 1
            if not self._counts[room]:
                del self._counts[room]
                self._forget(room)
        for prefix in selection.prefixes:
            self._prefixes[prefix] -= 1
            if not self._prefixes[prefix]:
                del self._prefixes[prefix]
                self._lengths[len(prefix)] -= 1
                self._lengths += Counter()  # without the zeros

    def count(self, room: str) -> int:
        """How many streams follow a room."""
        by_prefix = sum([self._prefixes[room[:length]] for length in self._lengths if length <= len(room)])
        return self._counts.get(room, 0) + by_prefix

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


def _named(selection: Selection) -> Collection[str]:
    """The rooms that a stream has by name alone, so that it counts once."""
    rooms, prefixes = selection
    return [room for room in rooms if not room.startswith(prefixes)] if prefixes else rooms
