"""How many streams each principal has, for principals with a limit.

All streams of a principal share a seat, which lives as long as one of them. So nothing is kept for principals
without streams.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakValueDictionary

from roomcast.delivery.counts import Counts


class Seat:
    """One principal's seat: the streams that it has and may have."""

    __slots__ = ("__weakref__", "_home", "_name", "_taken", "kind", "most")

    def __init__(self, home: Seats, name: str) -> None:
        self._home = home
        self._name = name
        self._taken = 0
        self.most = 0
        """How many streams the principal may have."""
        self.kind = ""
        """The kind of principal, for the metrics."""

    @property
    def taken(self) -> int:
        """The number of the principal's streams in this process."""
        return self._taken

    @taken.setter
    def taken(self, number: int) -> None:
        self._taken = number
        if self._home.counts is not None:
            self._home.counts.set(self._name, number)

    @property
    def is_over(self) -> bool:
        """Whether the principal has more streams than it may, over all workers of this server."""
        return self._taken + self._home.elsewhere(self._name) > self.most


class Seats:
    """The seats of all principals that have streams, by name."""

    def __init__(self) -> None:
        self._seats: WeakValueDictionary[str, Seat] = WeakValueDictionary()
        self.counts: Counts | None = None
        """The number of streams of each seat, for the other workers; None if there are no other workers."""
        self.elsewhere: Callable[[str], int] = lambda name: 0
        """Returns the number of streams of a seat at the other workers."""

    def __len__(self) -> int:
        """The number of seats in use."""
        return len(self._seats)

    def of(self, name: str, most: int, kind: str) -> Seat:
        """Returns the seat of the principal `name`, which may have `most` streams from now on. `kind` is its kind,
        for the metrics."""
        seat = self._seats.get(name)
        if seat is None:
            seat = self._seats[name] = Seat(self, name)
        seat.most, seat.kind = most, kind
        return seat
