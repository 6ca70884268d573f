"""The rights that a host application gives one of its users, by `roomcast.app(rights=...)`."""

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
    """The rights of one user of the host application.

    `user` is the `user` of the messages that they publish, 1 to 128 characters; they cannot choose another. `read`
    and `publish` are grants: each is the name of a room, or a prefix and `*`; by default nothing is granted.
    `until` is when their streams end, as a `datetime` with a time zone or in seconds since 1970; None means never.

        Rights("42", read=["user/42", "news"], publish=["chat/*"])

    Raises `ValueError` if a value is not valid."""

    user: str
    read: Sequence[str] = ()
    publish: Sequence[str] = ()
    until: datetime | float | None = None

    def __post_init__(self) -> None:
        self.principal()

    def principal(self) -> Principal:
        """The principal with these rights. Raises `ValueError` if a field is not valid."""
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


RightsFunction = Callable[[MutableMapping[str, Any]], Awaitable[Rights | None]]
"""Takes the ASGI scope of a request. Returns the rights of the user who sent it, or None for a stranger."""


def _grants(name: str, texts: Sequence[str]) -> Grants:
    if isinstance(texts, str):
        raise ValueError(f"{name} must be a list of grants, not one string: write [{texts!r:.140}]")
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
