"""The principal of a request: its rights. All requests with the same credential share one object."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from roomcast.auth.grants import EVERYTHING, NOTHING, Grants
from roomcast.auth.tickets import Grantor, Ticket
from roomcast.model.fields import ANONYMOUS
from roomcast.model.settings.limits import UNLIMITED, Quota

Kind = Literal["anonymous", "key", "token", "ticket", "host"]
Verb = Literal["read", "publish", "metrics", "admin"]
"""An action of a request: `read` follows and reads messages, `admin` deletes and revokes."""


class Principal(Struct, frozen=True, eq=False, kw_only=True, gc=False):
    """The rights of a client, and the fields that are set in its messages."""

    kind: Kind
    name: str
    """For the access log, the audit and limits. Never a part of a credential."""
    user: str | None
    """The `user` of its messages; None if it may choose any."""
    read: Grants
    publish: Grants
    metrics: bool = False
    admin: bool = False
    quota: Quota = UNLIMITED
    """How many streams it may have, and how much it may publish."""
    until: float | None = None
    """When its credential ends, in seconds since 1970; None if it does not. Includes the leeway, except in rights
    from a host."""
    scope: str = ""
    """Principals of one scope share their idempotency keys."""
    grantor: Grantor | None = None
    """The key or issuer that vouches for it, as tickets name it; None if there is none."""
    sub: str | None = None
    """The subject that `grantor` names; None if it names none."""
    issued: float | None = None
    """When its credential was issued, in seconds since 1970; None if that is not known."""
    ticket: Ticket | None = None
    """Its ticket, if its credential is one."""
    signer: str = ""
    """The id of the secret that signed its ticket. For a token, the id of the key that signed it, a space, and the
    `terms` of its issuer. Empty for other kinds."""

    @property
    def ticket_nonce(self) -> str:
        """The nonce of its ticket; empty if it has no ticket. By this nonce, a new stream of a ticket in a URL
        ends the stream before it."""
        return self.ticket.nonce if self.ticket else ""

    def may(self, verb: Verb) -> bool:
        """Whether it has the right `verb` for anything at all."""
        return bool(getattr(self, verb))

    @classmethod
    def of_ticket(cls, ticket: Ticket, quota: Quota = UNLIMITED, signer: str = "") -> Principal:
        """The holder of `ticket`, with the `quota` of whoever issued it; `signer` is the id of the secret that
        signed it. A room that ends in `*` is a name in a ticket, not a prefix."""
        return cls(
            kind="ticket",
            name=name_of(ticket.grantor, ticket.sub),
            user=ticket.user,
            read=Grants(ticket.rooms, ticket.prefixes),
            publish=Grants(ticket.publish),
            until=ticket.until,
            scope=scope_of(ticket.grantor, ticket.sub) if ticket.sub is not None else f"ticket:{ticket.nonce}",
            grantor=ticket.grantor,
            sub=ticket.sub,
            issued=ticket.issued,
            ticket=ticket,
            quota=quota,
            signer=signer,
        )


def name_of(grantor: Grantor, sub: str | None = None) -> str:
    """The name in logs of the subject `sub` of the key or issuer `grantor`. The server's own secret has an empty
    name."""
    return "/".join(filter(None, [grantor.name, sub]))


def scope_of(grantor: Grantor, sub: str | None = None) -> str:
    """The scope of a key or issuer `grantor`, or of the person `sub` that it names. A token and the tickets issued
    for it have the same scope.

    The line feed keeps the texts of two pairs different: names hold no control characters."""
    prefix = f"key:{grantor.name}" if grantor.digest else f"issuer:{grantor.name}"
    return prefix if sub is None else f"{prefix}\n{sub}"


EVERYBODY = Principal(
    kind=ANONYMOUS, name="", user=None, read=EVERYTHING, publish=EVERYTHING, metrics=True, admin=True
)
"""Every client in local mode, in which no rights are configured."""
NOBODY = Principal(kind=ANONYMOUS, name="", user=ANONYMOUS, read=NOTHING, publish=NOTHING)
"""The principal of a request before it is identified. A route that forgets to identify it gives nothing away."""
