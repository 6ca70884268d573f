"""The caps of the log and of its rooms, and which rooms exceed their rules. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.log.postgresql.queries import NO_END, Row
from roomcast.model.retention import Retention, RoomRule, RoomRules


class PostgresCaps:
    """The caps of the whole log and the rules of rooms, as configured on this server."""

    def __init__(self, retention: Retention) -> None:
        self.retention = retention
        self.rules = RoomRules(retention.rooms)
        self.over: dict[str, None] = {}
        """Rooms that exceed their rules, as an ordered set."""
        self.backlog = 0
        """How many messages were stored in such rooms since the last step of trimming."""

    def apply(self, retention: Retention) -> None:
        """Takes the rules of rooms and the age from `retention`. The caps of the whole log stay."""
        self.retention = self.retention._replace(rooms=retention.rooms, max_age=retention.max_age)
        self.rules = RoomRules(retention.rooms)
        self.over.clear()

    def oldest_at(self, now: int) -> int:
        """At `now` (ms), messages stored before the returned time (ms) are too old for the log; -1 if none are."""
        age = self.retention.max_age
        return -1 if age is None else max(0, now - int(age * 1000))

    def note_append(self, row: Row, stored: int) -> None:
        """Notes which rooms exceed their rules after an append of `stored` messages; `row` is its result."""
        if not self.rules.rules or row["room_names"] is None:
            return
        for room, messages, size in zip(row["room_names"], row["room_messages"], row["room_bytes"], strict=True):
            rule = self.rules.of(room)
            if rule and _is_over(rule, messages, size):
                self.over[room] = None
                self.backlog += stored

    def note_walk(self, rows: Sequence[Row], now: int) -> None:
        """Like `note_append`, for the rooms of one step of a walk (`walk_rooms`) at `now` (ms)."""
        for row in rows:
            rule = self.rules.of(row["room"])
            if rule and (_is_over(rule, row["messages"], row["bytes"]) or row["oldest_at"] < _too_old(rule, now)):
                self.over[row["room"]] = None

    def limits(self, rooms: Sequence[str], now: int) -> tuple[Sequence[str], list[int], list[int], list[int]]:
        """The rooms, and the limits of each at `now` (ms): messages, bytes, and the oldest time allowed (ms)."""
        rules = [self.rules.of(room) or RoomRule("") for room in rooms]
        most = [NO_END if rule.max_messages is None else rule.max_messages for rule in rules]
        size = [NO_END if rule.max_bytes is None else rule.max_bytes for rule in rules]
        return rooms, most, size, [_too_old(rule, now) for rule in rules]


def _is_over(rule: RoomRule, messages: int, size: int) -> bool:
    return (rule.max_messages is not None and messages > rule.max_messages) or (
        rule.max_bytes is not None and size > rule.max_bytes
    )


def _too_old(rule: RoomRule, now: int) -> int:
    """Messages stored before this time (ms) are too old; -1 if none are."""
    return -1 if rule.max_age is None else max(0, now - int(rule.max_age * 1000))
