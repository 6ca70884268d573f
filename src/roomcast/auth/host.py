"""What a program around us says of somebody that it knows: in `roomcast.app(rights=...)`."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from roomcast.auth.grants import Grants
from roomcast.auth.principal import Principal
from roomcast.model.fields import check


@dataclass(frozen=True)
class Rights:
    """What somebody may do, as the host's own login says.

    `user` is the `user` of their messages, 1 to 128 characters: they can give no other. `read` and `publish` are
    grants: names of rooms, or the beginning of names and `*`; nothing by default. `until` is when their streams
    end, as a `datetime` with a time zone or in seconds since 1970; None: they do not.

        Rights("42", read=["user/42", "news"], publish=["chat/*"])

    Raises `ValueError` where one of these cannot be."""

    user: str
    read: Sequence[str] = ()
    publish: Sequence[str] = ()
    until: datetime | float | None = None

    def __post_init__(self) -> None:
        self.principal()

    def principal(self) -> Principal:
        """Who asks, by these rights. Raises `ValueError`."""
        if wrong := check("user", self.user):
            raise ValueError(f"user {wrong}")
        return Principal(
            kind="host",
            name=self.user,
            user=self.user,
            read=_grants("read", self.read),
            publish=_grants("publish", self.publish),
            until=_seconds(self.until),
            scope=f"host:{self.user}",
        )


Ask = Callable[[MutableMapping[str, Any]], Awaitable[Rights | None]]
"""Given the ASGI scope of a request: the rights of whoever sent it, or None for a stranger."""


def _grants(name: str, texts: Sequence[str]) -> Grants:
    if isinstance(texts, str):
        raise ValueError(f"{name} must be a list of grants, not one text: [{texts!r:.140}]")
    try:
        return Grants.parse(texts)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def _seconds(until: datetime | float | None) -> float | None:
    if until is None:
        return None
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise ValueError("until needs a time zone: datetime.now(timezone.utc) + timedelta(...)")
        return until.timestamp()
    if not math.isfinite(until):
        raise ValueError("until must be a finite number of seconds since 1970")
    return float(until)
