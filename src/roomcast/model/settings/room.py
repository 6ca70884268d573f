"""A rule for rooms: `[[room]]` in the configuration's file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from roomcast.model.retention import RoomRule
from roomcast.model.settings.kinds import Checked, Count, Seconds, Size, Text, described
from roomcast.model.settings.section import column

MAX_AGE = Seconds(1, 10**10)


def _match(text: str) -> str:
    if "*" in Text().check(text)[:-1]:
        raise ValueError(f"must have * at its end only, not as in {described(text)}")
    return text


@dataclass(frozen=True, kw_only=True)
class RoomRow:
    """Caps for rooms whose names match. They apply to each room by itself."""

    match: str = column(Checked(_match))
    """A name, or a prefix of names followed by `*`."""
    max_messages: int | None = column(Count(1, 10**12), None)
    max_bytes: int | None = column(Size(1, 10**15), None)
    max_age: float | None = column(MAX_AGE, None)
    """Seconds."""

    def __post_init__(self) -> None:
        """Raises `ValueError` if the row has no cap."""
        if self.rule() == RoomRule(self.match):
            raise ValueError("has no cap: give it max_messages or max_bytes or max_age")

    def rule(self) -> RoomRule:
        """Returns the row as a `RoomRule`."""
        return RoomRule(**dataclasses.asdict(self))
