"""The `[[room]]` rows of the file: caps for rooms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roomcast.model.retention import RoomRule
from roomcast.model.settings.kinds import Count, Kind, RowError, Seconds, Size, Text, shown

MAX_AGE = Seconds(1, 10**10)
_CAPS: Mapping[str, Kind] = {"max_messages": Count(1, 10**12), "max_bytes": Size(1, 10**15), "max_age": MAX_AGE}


class Rules(Kind):
    """Any number of tables, each with `match` and at least one cap."""

    def check(self, value: object) -> tuple[RoomRule, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be tables, each under [[room]], not {shown(value)}")
        return tuple(_rule(number, row) for number, row in enumerate(value, 1))


def _rule(number: int, row: object) -> RoomRule:
    fields = row._asdict() if isinstance(row, RoomRule) else row
    if not isinstance(fields, dict):
        raise RowError(number, f"must be a table, not {shown(row)}")
    for name in fields:
        if name not in RoomRule._fields:
            raise RowError(number, f"{name!r:.100} is none of {', '.join(RoomRule._fields)}")
    rule = RoomRule(_match(number, fields.get("match")), **{name: _cap(number, fields, name) for name in _CAPS})
    if rule == RoomRule(rule.match):
        raise RowError(number, f"has no cap: give it {' or '.join(_CAPS)}")
    return rule


def _match(number: int, given: object) -> str:
    if given is None:
        raise RowError(number, "match is missing: name a room, or a prefix with * behind it")
    try:
        text = Text().check(given)
    except ValueError as error:
        raise RowError(number, f"match {error}") from None
    if "*" in text[:-1]:
        raise RowError(number, f"match must have * at its end only, not as in {shown(text)}")
    return text


def _cap(number: int, fields: Mapping[str, Any], name: str) -> Any:
    if fields.get(name) is None:
        return None
    try:
        return _CAPS[name].check(fields[name])
    except ValueError as error:
        raise RowError(number, f"{name} {error}") from None
