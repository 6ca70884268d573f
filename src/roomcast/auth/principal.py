"""Who asks: found once for each request, and shared by all that one credential asks for."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from roomcast.auth.grants import EVERYTHING, NOTHING, Grants
from roomcast.auth.tickets import By, Ticket
from roomcast.model.fields import ANONYMOUS
from roomcast.model.settings.limits import UNLIMITED, Quota

Kind = Literal["anonymous", "key", "token", "ticket", "host"]
Verb = Literal["read", "publish", "metrics", "admin"]
"""What a request does: `read` follows and reads messages, `admin` deletes and revokes."""


class Principal(Struct, frozen=True, eq=False, kw_only=True, gc=False):
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
    quota: Quota = UNLIMITED
    """How many streams they may have, and how much they may publish."""
    until: float | None = None
    """When it ends, with the leeway, in seconds since 1970; None where it does not."""
    scope: str = ""
    """Whose idempotency keys theirs are: those of one scope are one's own."""
    by: By | None = None
    """Who answers for them, as tickets name it; None where nobody does."""
    sub: str | None = None
    """Whom `by` says that they are; None where it says nothing."""
    issued: float | None = None
    """When their credential was issued, in seconds since 1970; None where nobody says."""
    ticket: Ticket | None = None
    """The ticket that they have, if that is what they have."""
    signed: str = ""
    """The id of the secret that their credential is signed with."""

    @property
    def single(self) -> str:
        """Tells whose streams in a URL replace each other; empty where none does."""
        return self.ticket.nonce if self.ticket else ""

    def may(self, verb: Verb) -> bool:
        """Whether there is anything at all that they may do so."""
        return bool(getattr(self, verb))

    @classmethod
    def of_ticket(cls, ticket: Ticket, quota: Quota = UNLIMITED, signed: str = "") -> Principal:
        """Whoever has this ticket. A room of it is a name, also where it ends in `*`."""
        return cls(
            kind="ticket",
            name=name_of(ticket.by, ticket.sub),
            user=ticket.user,
            read=Grants(ticket.rooms, ticket.prefixes),
            publish=Grants(ticket.publish),
            until=ticket.until,
            scope=scope_of(ticket.by, ticket.sub) if ticket.sub is not None else f"ticket:{ticket.nonce}",
            by=ticket.by,
            sub=ticket.sub,
            issued=ticket.issued,
            ticket=ticket,
            quota=quota,
            signed=signed,
        )


def name_of(by: By, sub: str | None = None) -> str:
    """How logs name those for whom `by` answers; the server's own secret has no name."""
    return "/".join(filter(None, [by.name, sub]))


def scope_of(by: By, sub: str | None = None) -> str:
    """The scope of those for whom `by` answers: of a key, or of the person `sub`. A token and the tickets that
    were given for it have one scope.

    No name has a control character, so that no two pairs are one text."""
    begun = f"key:{by.name}" if by.digest else f"issuer:{by.name}"
    return begun if sub is None else f"{begun}\n{sub}"


EVERYBODY = Principal(
    kind=ANONYMOUS, name="", user=None, read=EVERYTHING, publish=EVERYTHING, metrics=True, admin=True
)
"""Whoever asks where nobody has said who may: in local mode."""
NOBODY = Principal(kind=ANONYMOUS, name="", user=ANONYMOUS, read=NOTHING, publish=NOTHING)
"""Whoever asks before it is found out who that is: a route that forgets to ask gives nothing away."""
