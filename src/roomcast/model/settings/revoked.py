"""A revocation of the configuration: `[[revoked]]` in its file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from roomcast.model.revocation import Revocation, check_iss, check_sub
from roomcast.model.settings.kinds import Checked, Kind, shown
from roomcast.model.settings.section import column
from roomcast.model.times import parse_time


class Moment(Kind):
    """A time with its zone: text as in RFC 3339, or what TOML has for it."""

    metavar = "TIME"

    def check(self, value: object) -> str:
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.isoformat()
        if not isinstance(value, str):
            raise ValueError(f"must be a time with its zone, such as 2026-11-22T06:27:00Z, not {shown(value)}")
        parse_time(value)
        return value


@dataclass(frozen=True, kw_only=True)
class RevokedRow:
    """Whose tokens and tickets end, where they were issued before a moment."""

    sub: str = column(Checked(check_sub))
    iss: str | None = column(Checked(check_iss), None)
    """The issuer whose tokens these are; None: whoever issued them."""
    before: str = column(Moment())

    def revocation(self) -> Revocation:
        """As it is judged by."""
        return Revocation(self.sub, self.iss, parse_time(self.before))
