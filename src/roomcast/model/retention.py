"""How much a log keeps: caps of the whole log, and rules for rooms."""

from __future__ import annotations

from typing import NamedTuple

MANY_MESSAGES, MANY_BYTES = 1_000_000, 1_000_000_000
"""The caps of a whole log that has rules for rooms, where none are given."""
NO_CAP = 2**63 - 1
_FOUND_ROOMS = 16_384


class RoomRule(NamedTuple):
    """Caps that hold for each room by itself whose name matches."""

    match: str
    """A name, or the beginning of names with `*` behind it."""
    max_messages: int | None = None
    max_bytes: int | None = None
    """The sum of the stored bodies."""
    max_age: float | None = None
    """Seconds."""

    def matches(self, room: str) -> bool:
        return room.startswith(self.match[:-1]) if self.match.endswith("*") else room == self.match


class Retention(NamedTuple):
    """The oldest messages beyond any cap go."""

    max_messages: int = 10_000
    max_bytes: int = 5_000_000
    """The sum of the stored bodies."""
    max_age: float | None = None
    """Seconds; None: they may become as old as they like."""
    rooms: tuple[RoomRule, ...] = ()
    """Of several that match a room the first counts."""

    @property
    def ages(self) -> bool:
        """Whether anything goes for its age."""
        return self.max_age is not None or any(rule.max_age is not None for rule in self.rooms)

    @property
    def least_age(self) -> float:
        """The least time in seconds after which anything goes; infinite where nothing does."""
        ages = [self.max_age, *(rule.max_age for rule in self.rooms)]
        return min((age for age in ages if age is not None), default=float("inf"))


class RoomRules:
    """Finds the rule of a room."""

    def __init__(self, rules: tuple[RoomRule, ...]) -> None:
        self.rules = rules
        self.least_messages = min((rule.max_messages for rule in rules if rule.max_messages), default=NO_CAP)
        """So many messages at once are too many for no room."""
        self.least_bytes = min((rule.max_bytes for rule in rules if rule.max_bytes), default=NO_CAP)
        self._found: dict[str, RoomRule | None] = {}
        """What was found; it only saves time, and is bounded."""

    def __bool__(self) -> bool:
        return bool(self.rules)

    def of(self, room: str) -> RoomRule | None:
        """The first that matches; None where none does."""
        try:
            return self._found[room]
        except KeyError:
            if len(self._found) >= _FOUND_ROOMS:
                self._found.clear()
            self._found[room] = rule = next((rule for rule in self.rules if rule.matches(room)), None)
            return rule
