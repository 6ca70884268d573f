"""The caps of the log and of its rooms, and which rooms exceed their rules. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.log.postgresql.queries import NO_END, Row
from roomcast.model.retention import Retention, RoomRule, RoomRules


class PostgresCaps:
    """The caps of the whole log and the rules of rooms, as configured on this server."""

    def __init__(self, retention: Retention) -> None:
        """`retention`: the caps, the rules and the age to begin with."""
        self.retention = retention
        self.rules = RoomRules(retention.rooms)
        self.over: dict[str, None] = {}
        """Rooms that exceed their rules, as an ordered set."""
        self.backlog = 0
        """An upper bound for the messages stored in such rooms since the last trimming step."""

    def apply(self, retention: Retention) -> None:
        """Takes the rules of rooms and the age from `retention`. The caps of the whole log stay."""
        self.retention = self.retention._replace(rooms=retention.rooms, max_age=retention.max_age)
        self.rules = RoomRules(retention.rooms)
        self.over.clear()

    def oldest_at(self, now: int) -> int:
        """The time before which stored messages are too old for the log at the time `now`; -1 if none are. Both in
        ms since 1970."""
        age = self.retention.max_age
        return -1 if age is None else max(0, now - int(age * 1000))

    def note_append(self, row: Row, stored: int) -> None:
        """Notes which rooms exceed their rules after an append of `stored` messages. `row`: its result."""
        if not self.rules.rules or row["room_names"] is None:
            return
        for room, messages, size in zip(row["room_names"], row["room_messages"], row["room_bytes"], strict=True):
            rule = self.rules.of(room)
            if rule and _is_over(rule, messages, size):
                self.over[room] = None
                self.backlog += stored

    def note_walk(self, rows: Sequence[Row], now: int) -> None:
        """Notes which of the rooms in `rows`, the result of `walk_rooms`, exceed their rules at the time `now`, in
        ms since 1970."""
        for row in rows:
            rule = self.rules.of(row["room"])
            if rule and (_is_over(rule, row["messages"], row["bytes"]) or row["oldest_at"] < _too_old(rule, now)):
                self.over[row["room"]] = None

    def limits(self, rooms: Sequence[str], now: int) -> tuple[Sequence[str], list[int], list[int], list[int]]:
        """Returns `rooms`, and for each of them its limits at the time `now`: messages, bytes, and the oldest time
        allowed. Times are in ms since 1970."""
        rules = [self.rules.of(room) or RoomRule("") for room in rooms]
        most = [NO_END if rule.max_messages is None else rule.max_messages for rule in rules]
        size = [NO_END if rule.max_bytes is None else rule.max_bytes for rule in rules]
        return rooms, most, size, [_too_old(rule, now) for rule in rules]


def _is_over(rule: RoomRule, messages: int, size: int) -> bool:
    return (rule.max_messages is not None and messages > rule.max_messages) or (
        rule.max_bytes is not None and size > rule.max_bytes
    )


def _too_old(rule: RoomRule, now: int) -> int:
    """The time before which stored messages are too old for `rule`; -1 if none are. In ms since 1970."""
    return -1 if rule.max_age is None else max(0, now - int(rule.max_age * 1000))
