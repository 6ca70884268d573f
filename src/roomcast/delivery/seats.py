"""How many streams each principal has, where that has a limit.

A seat is shared by all streams of a principal and lives as long as one of them. So nothing is kept of those that
have left.
"""

from __future__ import annotations

from weakref import WeakValueDictionary


class Seat:
    """One principal's place: how many streams sit in it, and how many may."""

    __slots__ = ("__weakref__", "kind", "most", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.most = 0
        self.kind = ""
        """The kind of principal, for the metrics."""

    @property
    def is_over(self) -> bool:
        """Whether more sit in it than may."""
        return self.taken > self.most


class Seats:
    """The seats of all principals that have streams, by name."""

    def __init__(self) -> None:
        self._seats: WeakValueDictionary[str, Seat] = WeakValueDictionary()

    def __len__(self) -> int:
        """Seats that are kept."""
        return len(self._seats)

    def of(self, name: str, most: int, kind: str) -> Seat:
        """The seat of this name, in which `most` may sit from now on."""
        seat = self._seats.get(name)
        if seat is None:
            seat = self._seats[name] = Seat()
        seat.most, seat.kind = most, kind
        return seat
