"""Retention: the caps of a whole log, and the rules for its rooms."""

from __future__ import annotations

from typing import NamedTuple

MANY_MESSAGES, MANY_BYTES = 1_000_000, 1_000_000_000
"""The default caps of a whole log that has rules for rooms."""
NO_CAP = 2**63 - 1
_FOUND_ROOMS = 16_384
"""How many rooms' rules are cached."""


class RoomRule(NamedTuple):
    """Caps for rooms whose names match. They apply to each room by itself."""

    match: str
    """A name, or a prefix of names followed by `*`."""
    max_messages: int | None = None
    max_bytes: int | None = None
    """The sum of the stored bodies."""
    max_age: float | None = None
    """Seconds."""

    def matches(self, room: str) -> bool:
        """Whether the rule applies to a room."""
        return room.startswith(self.match[:-1]) if self.match.endswith("*") else room == self.match


class Retention(NamedTuple):
    """The caps of a log. The oldest messages beyond any cap are trimmed."""

    max_messages: int = 10_000
    max_bytes: int = 5_000_000
    """The sum of the stored bodies."""
    max_age: float | None = None
    """Seconds; None: any age."""
    rooms: tuple[RoomRule, ...] = ()
    """The first rule that matches a room applies to it."""

    @property
    def ages(self) -> bool:
        """Whether any cap is an age."""
        return self.max_age is not None or any(rule.max_age is not None for rule in self.rooms)

    @property
    def least_age(self) -> float:
        """The lowest age in seconds at which any message is trimmed; infinite if there is none."""
        ages = [self.max_age, *(rule.max_age for rule in self.rooms)]
        return min((age for age in ages if age is not None), default=float("inf"))


class RoomRules:
    """Finds the rule of a room."""

    def __init__(self, rules: tuple[RoomRule, ...]) -> None:
        self.rules = rules
        self.least_messages = min((rule.max_messages for rule in rules if rule.max_messages), default=NO_CAP)
        """The lowest cap in messages of any rule. A batch up to this size fits into every room."""
        self.least_bytes = min((rule.max_bytes for rule in rules if rule.max_bytes), default=NO_CAP)
        self._found: dict[str, RoomRule | None] = {}
        """A bounded cache of the rules of rooms."""

    def __bool__(self) -> bool:
        return bool(self.rules)

    def of(self, room: str) -> RoomRule | None:
        """Returns the rule that applies to a room; None if there is none."""
        try:
            return self._found[room]
        except KeyError:
            if len(self._found) >= _FOUND_ROOMS:
                self._found.clear()
            self._found[room] = rule = next((rule for rule in self.rules if rule.matches(room)), None)
            return rule
