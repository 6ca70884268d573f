"""The rights of a server: whom a credential makes somebody, by what is configured.

They never change: those of a configuration that was read again are another object, with a cache of its own, which
takes the place of this one as a whole.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import OrderedDict
from typing import Final

from roomcast.auth import keys, tickets
from roomcast.auth.credentials import NOT_VALID, kind_of
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
TICKET_EXPIRED, EXPIRED = "ticket-expired", "expired"
"""What else the holder of a credential is told about it."""

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
        cookie: str | None = None,
    ) -> None:
        """`read` and `publish` are what requests without a credential may do; nothing by default. `cookie` is the
        name of the one that has a credential in it; None: there is none."""
        self.generation = next(_generations)
        """Later rights have a greater one: a principal that was kept may be of earlier ones."""
        self.keys = keys or Keys()
        self.secrets = secrets or Secrets()
        self.cookie = cookie
        self.anonymous = Principal(
            kind=ANONYMOUS, name="", user=ANONYMOUS, read=read or Grants(), publish=publish or Grants()
        )
        """Whoever sends no credential."""
        self._cache: OrderedDict[bytes, Principal] = OrderedDict()
        """Holders of credentials, by the credential's hash; only of good ones, so that nobody can fill it who has
        none."""

    @classmethod
    def of(cls, settings: Settings) -> Rights:
        """Those that the settings give. Blocks, since it reads the secrets' files. Raises `CannotStart`."""
        return cls(
            keys=Keys(settings.keys),
            secrets=_secrets(settings),
            read=Grants.parse(granted("read", settings.anonymous)),
            publish=Grants.parse(granted("publish", settings.anonymous)),
            cookie=settings.cookie,
        )

    @property
    def configured(self) -> bool:
        """Whether anybody has said who may do what."""
        strangers = self.anonymous.read or self.anonymous.publish
        return bool(self.keys or self.secrets or self.cookie or strangers)

    def identify(self, credential: str, now: float, sent: bytes = b"") -> Principal:
        """Whose this is; `now` is seconds since 1970. It is remembered as it was `sent`, where that is given.

        Raises `InvalidToken`: never is anybody, whose credential is not good, somebody without one."""
        sent = sent or credential.encode("utf-8", "surrogatepass")
        return self.recalled(sent, now) or self._keep(fingerprint(sent), self._holder(credential, now))

    def recalled(self, sent: bytes, now: float) -> Principal | None:
        """Whose this is, where it was sent in the same bytes before."""
        hashed = fingerprint(sent)
        found = self._cache.get(hashed)
        if found is None:
            return None
        if found.until is not None and now >= found.until:
            del self._cache[hashed]
            return None
        self._cache.move_to_end(hashed)
        return found

    def _holder(self, credential: str, now: float) -> Principal:
        kind = kind_of(credential)
        if kind == "ticket":
            return self._holder_of_ticket(credential, now)
        if found := self.keys.holder(keys.sha256(credential)):
            return found
        match kind:
            case "key":
                raise _refused("unknown key")
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

    def _keep(self, hashed: bytes, principal: Principal) -> Principal:
        self._cache[hashed] = principal
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return principal


def fingerprint(sent: bytes) -> bytes:
    """What a credential is remembered by. No other has the same, and nothing of it can be told from it. It takes
    half of the time of SHA-256."""
    return hashlib.blake2b(sent, digest_size=32).digest()


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
