"""Who asks: found once for each request, and shared by all that one credential asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roomcast.auth.grants import EVERYTHING, Grants
from roomcast.model.fields import ANONYMOUS

Kind = Literal["anonymous", "key", "token", "ticket", "host"]
Verb = Literal["read", "publish", "metrics", "admin"]
"""What a request does: `read` follows and reads messages, `admin` deletes and revokes."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Principal:
    """What somebody may do, and what their messages carry."""

    kind: Kind
    name: str
    """For the access log, the audit and limits. Never a part of a credential."""
    user: str | None
    """The `user` of their messages; None where they may give any."""
    read: Grants
    publish: Grants
    metrics: bool = False
    admin: bool = False
    until: float | None = None
    """When it ends, with the leeway, in seconds since 1970; None where it does not."""
    scope: str = ""
    """Whose idempotency keys theirs are: those of one scope are one's own."""

    def may(self, verb: Verb) -> bool:
        """Whether there is anything at all that they may do so."""
        return bool(getattr(self, verb))


EVERYBODY = Principal(
    kind=ANONYMOUS, name="", user=None, read=EVERYTHING, publish=EVERYTHING, metrics=True, admin=True
)
"""Whoever asks where nobody has said who may: in local mode."""
