"""Grants: the rooms that a principal may read, or publish to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

from roomcast.model.settings.grant import ANY, parse_grant


class Grants:
    """A union of rooms and of prefixes. There is no denial, so that there is no order to get wrong."""

    __slots__ = ("_prefixes", "_rooms")

    def __init__(self, rooms: Iterable[str] = (), prefixes: Iterable[str] = ()) -> None:
        self._rooms = frozenset(rooms)
        self._prefixes = tuple(sorted(set(prefixes)))

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Grants:
        """Grants from their `texts`: each is the name of a room, or a prefix and `*`.

        Raises `ValueError`; its text continues a sentence that begins with the place of the grants."""
        given = [parse_grant(text) for text in texts]
        prefixes = [text[:-1] for text in given if text.endswith(ANY)]
        return cls([text for text in given if not text.endswith(ANY)], prefixes)

    def __bool__(self) -> bool:
        """Whether any room is granted."""
        return bool(self._rooms or self._prefixes)

    def __contains__(self, room: str) -> bool:
        return room in self._rooms or room.startswith(self._prefixes)

    def lacking(self, rooms: Iterable[str]) -> Sequence[str]:
        """Those of `rooms` that are not granted, in their order."""
        return [room for room in rooms if room not in self]

    def covers_prefix(self, prefix: str) -> bool:
        """Whether one grant covers every room whose name begins with `prefix`."""
        return prefix.startswith(self._prefixes)

    def common_prefix(self) -> str:
        """The longest prefix that the names of all granted rooms share."""
        names = [*self._rooms, *self._prefixes]
        first, last = min(names, default=""), max(names, default="")  # all others lie between
        same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        return "".join(character for character, _ in same)

    def ranges(self) -> list[tuple[str, bool]]:
        """The grants in the order of names, without those that another one covers: each is a room's name and
        False, or a prefix and True."""
        prefixes: list[str] = []
        for prefix in self._prefixes:  # sorted: a covered one comes right after the one that covers it
            if not prefix.startswith(tuple(prefixes[-1:])):
                prefixes.append(prefix)
        names = [(room, False) for room in self._rooms if not room.startswith(tuple(prefixes))]
        return sorted([*names, *((prefix, True) for prefix in prefixes)])

    def texts(self) -> list[str]:
        """The grants as texts, in order."""
        return sorted([*self._rooms, *(prefix + ANY for prefix in self._prefixes)])


EVERYTHING = Grants(prefixes=[""])
NOTHING = Grants()
