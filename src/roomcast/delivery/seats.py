"""How many streams each principal has, where that has a limit.

A seat is shared by all streams of a principal and lives as long as one of them. So nothing is kept of those that
have left.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakValueDictionary

from roomcast.delivery.counts import Counts


class Seat:
    """One principal's place: how many streams sit in it, and how many may."""

    __slots__ = ("__weakref__", "_home", "_name", "_taken", "kind", "most")

    def __init__(self, home: Seats, name: str) -> None:
        self._home = home
        self._name = name
        self._taken = 0
        self.most = 0
        self.kind = ""
        """The kind of principal, for the metrics."""

    @property
    def taken(self) -> int:
        """How many sit in it here."""
        return self._taken

    @taken.setter
    def taken(self, number: int) -> None:
        self._taken = number
        if self._home.counts is not None:
            self._home.counts.set(self._name, number)

    @property
    def is_over(self) -> bool:
        """Whether more sit in it than may, here and at other workers of this server."""
        return self._taken + self._home.elsewhere(self._name) > self.most


class Seats:
    """The seats of all principals that have streams, by name."""

    def __init__(self) -> None:
        self._seats: WeakValueDictionary[str, Seat] = WeakValueDictionary()
        self.counts: Counts | None = None
        """For the other workers, where there are any."""
        self.elsewhere: Callable[[str], int] = lambda name: 0
        """How many sit in one at these."""

    def __len__(self) -> int:
        """Seats that are kept."""
        return len(self._seats)

    def of(self, name: str, most: int, kind: str) -> Seat:
        """The seat of this name, in which `most` may sit from now on."""
        seat = self._seats.get(name)
        if seat is None:
            seat = self._seats[name] = Seat(self, name)
        seat.most, seat.kind = most, kind
        return seat
