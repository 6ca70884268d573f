"""Verifies credentials: which principal a key, a ticket or a token stands for. Nothing is cached here."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

from roomcast.auth import tickets
from roomcast.auth.credentials import EXPIRED, NOT_VALID, TICKET_EXPIRED, kind_of
from roomcast.auth.keys import Keys, sha256
from roomcast.auth.principal import Principal
from roomcast.auth.secrets import Secrets
from roomcast.auth.tickets import BadTicket, Grantor, TicketEnded
from roomcast.auth.tokens.bad import BadToken, KeysUnavailable, TokenExpired
from roomcast.model.errors import InvalidToken, RightsUnavailable
from roomcast.model.settings.limits import Quota

if TYPE_CHECKING:
    from roomcast.auth.tokens.issuers import Issuers

_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class Verifier:
    """Verifies credentials by the keys, secrets and issuers of one configuration."""

    def __init__(self, keys: Keys, secrets: Secrets, issuers: Issuers | None) -> None:
        """`issuers` is None if no tokens are accepted."""
        self._keys = keys
        self._secrets = secrets
        self._issuers = issuers

    def verify(self, credential: str, now: float) -> Principal:
        """The principal of `credential`; `now` is seconds since 1970.

        Raises `InvalidToken` with the reason if it is not valid, and `RightsUnavailable` for a token whose key may
        yet be fetched."""
        kind = kind_of(credential)
        if kind == "ticket":
            return self._verify_ticket(credential, now)
        if found := self._keys.with_hash(sha256(credential)):
            return found
        if kind == "key":
            raise refused("unknown key")
        if not _JWT.fullmatch(credential):
            raise refused("neither a key nor a ticket nor a token")
        return self._verify_token(credential, now)

    def current(self, principal: Principal) -> Principal | None:
        """The principal that the credential of `principal` stands for in this configuration. An earlier
        configuration has verified it. None if the credential is no longer valid."""
        grantor, signer = principal.grantor, principal.signer
        if principal.kind == "key":
            return self._keys.get(grantor)
        if grantor is None:
            return None
        if principal.kind == "ticket":
            valid = self._is_configured(grantor) and self._secrets.get(signer) is not None
        else:
            valid = self._issuers is not None and self._issuers.still_accept(grantor, signer)
        return principal if valid else None

    def _verify_ticket(self, credential: str, now: float) -> Principal:
        try:
            ticket = tickets.unseal(credential, self._secrets, now)
        except TicketEnded:
            raise InvalidToken(TICKET_EXPIRED, reason="the ticket has expired") from None
        except BadTicket as error:
            raise refused(f"bad ticket: {error}") from None
        if not self._is_configured(ticket.grantor):
            kind = "key" if ticket.grantor.digest else "issuer"
            raise refused(f"the ticket is of the {kind} {ticket.grantor.name!r}, which is no longer configured")
        return Principal.of_ticket(ticket, self._quota(ticket.grantor), tickets.signer(credential))

    def _is_configured(self, grantor: Grantor) -> bool:
        """Whether the key or issuer that issued a ticket is configured."""
        issued_by_key = self._keys.get(grantor) is not None
        return issued_by_key or (self._issuers is not None and self._issuers.has(grantor))

    def _quota(self, grantor: Grantor) -> Quota:
        """The quota of each holder of a ticket that this key or issuer issued."""
        owner = self._keys if grantor.digest or self._issuers is None else self._issuers
        return owner.quota(grantor)

    def _verify_token(self, credential: str, now: float) -> Principal:
        if self._issuers is None:
            raise refused("tokens are not accepted" if tokens_installed() else "roomcast[jwt] is not installed")
        try:
            return self._issuers.verify(credential, now)
        except TokenExpired as error:
            raise InvalidToken(EXPIRED, reason=f"bad token: {error}") from None
        except BadToken as error:
            raise refused(f"bad token: {error}") from None
        except KeysUnavailable:
            raise RightsUnavailable("try again: this token cannot be verified now") from None


def refused(reason: str) -> InvalidToken:
    """The error for a credential that is not valid: `reason` is for the audit log, and not told to the client."""
    return InvalidToken(NOT_VALID, reason=reason)


def tokens_installed() -> bool:
    """Whether joserfc is installed, which tokens need."""
    return find_spec("joserfc") is not None
