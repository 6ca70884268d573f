"""Which rooms somebody may read, or publish to."""

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
        """From grants as they are written: the name of a room, or a prefix that ends in `*`.

        Raises `ValueError` with the end of a sentence that begins with where they stand."""
        given = [parse_grant(text) for text in texts]
        prefixes = [text[:-1] for text in given if text.endswith(ANY)]
        return cls([text for text in given if not text.endswith(ANY)], prefixes)

    def __bool__(self) -> bool:
        """Whether there is any room in it."""
        return bool(self._rooms or self._prefixes)

    def __contains__(self, room: str) -> bool:
        return room in self._rooms or room.startswith(self._prefixes)

    def lacking(self, rooms: Iterable[str]) -> Sequence[str]:
        """Those of `rooms` that are not in it, in their order."""
        return [room for room in rooms if room not in self]

    def covers_prefix(self, prefix: str) -> bool:
        """Whether one grant covers every room whose name begins with `prefix`."""
        return prefix.startswith(self._prefixes)

    def begin(self) -> str:
        """What the names of all its rooms begin with."""
        names = [*self._rooms, *self._prefixes]
        first, last = min(names, default=""), max(names, default="")  # all others lie between
        same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
        return "".join(character for character, _ in same)

    def texts(self) -> list[str]:
        """Its grants as they are written, in order."""
        return sorted([*self._rooms, *(prefix + ANY for prefix in self._prefixes)])


EVERYTHING = Grants(prefixes=[""])
NOTHING = Grants()
