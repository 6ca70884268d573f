"""A revocation of the configuration: `[[revoked]]` in its file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from roomcast.model.revocation import Revocation, check_iss, check_sub
from roomcast.model.settings.kinds import Checked, Kind, described
from roomcast.model.settings.section import column
from roomcast.model.times import parse_time


class Moment(Kind):
    """A time with its zone: text as in RFC 3339, or a TOML date-time."""

    metavar = "TIME"

    def check(self, value: object) -> str:
        """Returns `value` as RFC 3339 text. Raises `ValueError`, also if it has no zone."""
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.isoformat()
        if not isinstance(value, str):
            raise ValueError(f"must be a time with its zone, such as 2026-11-22T06:27:00Z, not {described(value)}")
        parse_time(value)
        return value


@dataclass(frozen=True, kw_only=True)
class RevokedRow:
    """Ends a person's tokens and tickets that were issued before a time."""

    sub: str = column(Checked(check_sub))
    iss: str | None = column(Checked(check_iss), None)
    """The issuer whose tokens end, and the tickets issued for them; None for every issuer, and for the tickets of
    keys."""
    before: str = column(Moment())

    def revocation(self) -> Revocation:
        """The row as a `Revocation`. Raises `ValueError`."""
        return Revocation(self.sub, self.iss, parse_time(self.before))
