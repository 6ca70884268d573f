"""Sets of rooms, by name and by prefix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Selection(NamedTuple):
    """The rooms that a client follows or reads. Selections of the same rooms and prefixes are equal, so a
    selection can be a key."""

    rooms: frozenset[str]
    """Names of rooms."""
    prefixes: tuple[str, ...] = ()
    """Every room whose name begins with one of these is selected, later ones too. They are sorted, and none begins
    with another."""

    @classmethod
    def of(cls, rooms: Iterable[str] = (), prefixes: Iterable[str] = ()) -> Selection:
        """Returns the selection of `rooms` and `prefixes`. The prefixes are sorted, and without those that others
        cover."""
        kept: list[str] = []
        for prefix in sorted(prefixes):
            # In sorted order, only the last kept prefix can cover the next one.
            if not kept or not prefix.startswith(kept[-1]):
                kept.append(prefix)
        return cls(frozenset(rooms), tuple(kept))

    def covers(self, room: str) -> bool:
        """Whether a room is selected."""
        return room in self.rooms or room.startswith(self.prefixes)

    def texts(self) -> list[str]:
        """Returns the names, and the prefixes with `*` appended, for people to read."""
        return [*sorted(self.rooms), *(f"{prefix}*" for prefix in self.prefixes)]


def beginnings(room: str) -> Iterable[str]:
    """All prefixes of a room's name, the empty one first."""
    return (room[:length] for length in range(len(room) + 1))
