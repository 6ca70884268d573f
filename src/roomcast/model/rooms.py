"""Sets of rooms: by name, and by what names begin with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Selection(NamedTuple):
    """The rooms that somebody follows or reads. It is a key: two of the same rooms and prefixes are equal."""

    rooms: frozenset[str]
    """Those that are named."""
    prefixes: tuple[str, ...] = ()
    """Every room whose name begins with one of these, also those that come later; sorted, and none begins with
    another one."""

    @classmethod
    def of(cls, rooms: Iterable[str] = (), prefixes: Iterable[str] = ()) -> Selection:
        """The selection with its prefixes in order, without those that others cover."""
        kept: list[str] = []
        for prefix in sorted(prefixes):
            # In order, the one that covers a prefix is the last that was kept.
            if not kept or not prefix.startswith(kept[-1]):
                kept.append(prefix)
        return cls(frozenset(rooms), tuple(kept))

    def covers(self, room: str) -> bool:
        """Whether a room is in it."""
        return room in self.rooms or room.startswith(self.prefixes)

    def texts(self) -> list[str]:
        """For people: the names, and the prefixes with `*` behind them."""
        return [*sorted(self.rooms), *(f"{prefix}*" for prefix in self.prefixes)]


def beginnings(room: str) -> Iterable[str]:
    """All prefixes that cover a room."""
    return (room[:length] for length in range(len(room) + 1))
