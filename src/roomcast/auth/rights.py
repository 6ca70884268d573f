"""The rights of a server: whom a credential makes somebody, by what is configured.

They never change: those of a configuration that was read again are another object, with a cache of its own, which
takes the place of this one as a whole.
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from typing import Final

from roomcast.auth import keys, tickets
from roomcast.auth.credentials import kind_of
from roomcast.auth.grants import Grants
from roomcast.auth.keys import Keys
from roomcast.auth.principal import Principal
from roomcast.auth.secrets import Secrets
from roomcast.auth.tickets import BadTicket, TicketEnded
from roomcast.model.errors import BadOption, InvalidToken
from roomcast.model.fields import ANONYMOUS
from roomcast.model.settings import Settings
from roomcast.model.settings.anonymous import granted

CACHED: Final = 10_000
"""Principals that are kept. With tickets for two rooms that is 17 MB; the least recently used one goes first."""
NOT_VALID, TICKET_EXPIRED, EXPIRED = "not valid", "ticket-expired", "expired"
"""All that the holder of a credential is told about it."""

_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_generations = itertools.count(1)


class Rights:
    """Who may do what."""

    def __init__(
        self,
        *,
        keys: Keys | None = None,
        secrets: Secrets | None = None,
        read: Grants | None = None,
        publish: Grants | None = None,
    ) -> None:
        """`read` and `publish` are what requests without a credential may do; nothing by default."""
        self.generation = next(_generations)
        """Later rights have a greater one: a principal that was kept may be of earlier ones."""
        self.keys = keys or Keys()
        self.secrets = secrets or Secrets()
        self.anonymous = Principal(
            kind=ANONYMOUS, name="", user=ANONYMOUS, read=read or Grants(), publish=publish or Grants()
        )
        """Whoever sends no credential."""
        self._cache: OrderedDict[str, Principal] = OrderedDict()
        """Holders of tickets, by the hash of the ticket; only of good ones, so that nobody can fill it who has
        none."""

    @classmethod
    def of(cls, settings: Settings) -> Rights:
        """Those that the settings give. Blocks, since it reads the secrets' files. Raises `CannotStart`."""
        return cls(
            keys=Keys(settings.keys),
            secrets=_secrets(settings),
            read=Grants.parse(granted("read", settings.anonymous)),
            publish=Grants.parse(granted("publish", settings.anonymous)),
        )

    @property
    def configured(self) -> bool:
        """Whether anybody has said who may do what."""
        return bool(self.keys or self.secrets or self.anonymous.read or self.anonymous.publish)

    def identify(self, credential: str, now: float) -> Principal:
        """Whose this is; `now` is seconds since 1970. Raises `InvalidToken`: never is anybody, whose credential is
        not good, somebody without one."""
        hashed = keys.sha256(credential)
        if found := self.keys.holder(hashed) or self._cached(hashed, now):
            return found
        match kind_of(credential):
            case "key":
                raise _refused("unknown key")
            case "ticket":
                return self._keep(hashed, self._holder_of_ticket(credential, now))
            case "token" if _JWT.fullmatch(credential):
                raise _refused("tokens are not installed here")
            case "token":
                raise _refused("neither a key nor a ticket nor a token")

    def _holder_of_ticket(self, credential: str, now: float) -> Principal:
        try:
            ticket = tickets.unseal(credential, self.secrets, now)
        except TicketEnded:
            raise InvalidToken(TICKET_EXPIRED, reason="the ticket has expired") from None
        except BadTicket as error:
            raise _refused(f"bad ticket: {error}") from None
        if not self.keys.answers(ticket.by):
            raise _refused(f"the ticket is of the key {ticket.by.name!r}, which is not configured any more")
        return Principal.of_ticket(ticket)

    def _cached(self, hashed: str, now: float) -> Principal | None:
        if (found := self._cache.get(hashed)) is None:
            return None
        if found.until is not None and now >= found.until:
            del self._cache[hashed]
            return None
        self._cache.move_to_end(hashed)
        return found

    def _keep(self, hashed: str, principal: Principal) -> Principal:
        self._cache[hashed] = principal
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return principal


def _secrets(settings: Settings) -> Secrets:
    if settings.secret is None:
        return Secrets.read(settings.secret_files)
    if settings.secret_files:
        raise BadOption(
            "a secret is given twice, as text and as a file: take ROOMCAST_SECRET or --secret-file away"
        )
    return Secrets.of_text(settings.secret, "the secret in ROOMCAST_SECRET")


def _refused(reason: str) -> InvalidToken:
    return InvalidToken(NOT_VALID, reason=reason)
