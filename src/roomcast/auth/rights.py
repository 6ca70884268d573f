"""The rights of a server: the principal of each credential, by the configuration.

Only revocations change an object of this class. A configuration that is read again makes a new one with its own
cache, which replaces this one as a whole.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from time import thread_time
from typing import TYPE_CHECKING, Final

from roomcast.auth import keys, tickets
from roomcast.auth.budget import Budget
from roomcast.auth.credentials import NOT_VALID, kind_of
from roomcast.auth.grants import Grants
from roomcast.auth.keys import Keys
from roomcast.auth.principal import Principal
from roomcast.auth.revocations import Revocations
from roomcast.auth.secrets import Secrets
from roomcast.auth.tickets import BadTicket, By, TicketEnded
from roomcast.auth.tokens.bad import BadToken, KeysAway, TokenExpired
from roomcast.model.errors import BadCredential, BadOption, CannotStart, InvalidToken, RightsUnavailable
from roomcast.model.fields import ANONYMOUS
from roomcast.model.revocation import Revocation
from roomcast.model.settings import Settings
from roomcast.model.settings.anonymous import granted, quota
from roomcast.model.settings.limits import UNLIMITED, Quota

if TYPE_CHECKING:
    from roomcast.auth.tokens.issuers import Issuers

CACHED: Final = 10_000
"""Principals in the cache. With tickets for two rooms it takes 17 MB. The least recently used one is dropped
first."""
TICKET_EXPIRED, EXPIRED = "ticket-expired", "expired"
"""The other reasons that a client is told when its credential is refused."""

_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_generations = itertools.count(1)


class Rights:
    """The rights of one configuration, with a cache of principals."""

    def __init__(
        self,
        *,
        keys: Keys | None = None,
        secrets: Secrets | None = None,
        issuers: Issuers | None = None,
        read: Grants | None = None,
        publish: Grants | None = None,
        quota: Quota = UNLIMITED,
        cookie: str | None = None,
        revoked: Sequence[Revocation] = (),
    ) -> None:
        """`issuers` is None if no tokens are accepted. `read` and `publish` are the grants of requests without a
        credential, by default none; `quota` is that of each of their addresses. `cookie` is the name of the cookie
        that holds a credential; None if there is none. `revoked` are the configuration's revocations."""
        self.generation = next(_generations)
        """Greater for later rights: a principal kept elsewhere may have been found by earlier ones."""
        self.keys = keys or Keys()
        self.secrets = secrets or Secrets()
        self.cookie = cookie
        self.issuers = issuers
        self.anonymous = Principal(
            kind=ANONYMOUS,
            name="",
            user=ANONYMOUS,
            read=read or Grants(),
            publish=publish or Grants(),
            quota=quota,
        )
        """The principal of a client that sends no credential."""
        self._configured_revoked = revoked
        self._revoked = Revocations(revoked)
        self._cache: OrderedDict[bytes, Principal] = OrderedDict()
        """Holders of credentials, by the credential's hash; only of good ones, so that nobody can fill it who has
        none."""
        self._budget = Budget()

    @classmethod
    def of(cls, settings: Settings) -> Rights:
        """The rights for these settings. Blocks: it reads the files of secrets. Raises `CannotStart`."""
        secrets = secrets_of(settings)
        return cls(
            keys=Keys(settings.keys),
            secrets=secrets,
            issuers=_issuers(settings, secrets),
            read=Grants.parse(granted("read", settings.anonymous)),
            publish=Grants.parse(granted("publish", settings.anonymous)),
            quota=quota(settings.anonymous),
            cookie=settings.cookie,
            revoked=[row.revocation() for row in settings.revoked],
        )

    @property
    def configured(self) -> bool:
        """Whether the configuration grants or checks anything."""
        strangers = self.anonymous.read or self.anonymous.publish
        return bool(self.keys or self.secrets or self.issuers or self.cookie or strangers)

    def open(self, changed: Callable[[], None] = lambda: None, before: Rights | None = None) -> None:
        """Starts fetching the issuers' keys on the running loop, beginning with the keys that `before` has.
        `changed` is called whenever the keys have changed."""

        def forget() -> None:
            self._cache.clear()
            changed()

        if self.issuers is not None:
            self.issuers.open(forget, before.issuers if before else None)

    async def fetched(self) -> None:
        """Waits until no fetch of issuers' keys is under way."""
        if self.issuers is not None:
            await self.issuers.fetched()

    def close(self) -> None:
        """Ends what `open` began."""
        if self.issuers is not None:
            self.issuers.close()

    def revoke(self, logged: Sequence[Revocation]) -> None:
        """Puts the log's revocations in force, in addition to those of the configuration, and clears the cache."""
        self._revoked = Revocations([*self._configured_revoked, *logged])
        self._cache.clear()

    def now(self, principal: Principal) -> Principal | None:
        """The principal by these rights, for one that was found by earlier rights; None if its credential is no
        longer valid."""
        if principal.kind == "key":
            return self.keys.named(principal.by)
        return principal if self._still_signs(principal) and not self._revoked.end(principal) else None

    def _still_signs(self, principal: Principal) -> bool:
        by, signed = principal.by, principal.signed
        if by is None or principal.kind == "ticket":
            return by is not None and self._answers(by) and self.secrets.named(signed) is not None
        return self.issuers is not None and self.issuers.stand(by, signed)

    def identify(self, credential: str, now: float) -> Principal:
        """Whose this is; `now` is seconds since 1970.

        Raises `InvalidToken`: never is anybody, whose credential is not good, somebody without one."""
        return self.whose(credential.encode("utf-8", "surrogatepass"), lambda sent: credential, now)

    def whose(
        self, sent: bytes, read: Callable[[bytes], str], now: float, client: Callable[[], str] = lambda: ""
    ) -> Principal:
        """The same of a credential as it was sent, by which it is remembered. Where it is new, `read` takes its
        text out of `sent`, and `client` names the client that sends it, whose time is used up if it is bad.

        Raises what `read` does, `InvalidToken`, `TooManyBad` and `RightsUnavailable`."""
        hashed = fingerprint(sent)
        return self._recalled(hashed, now) or self._keep(hashed, self._judged(sent, read, now, client()))

    def _recalled(self, hashed: bytes, now: float) -> Principal | None:
        found = self._cache.get(hashed)
        if found is None:
            return None
        if found.until is not None and now >= found.until:
            del self._cache[hashed]
            return None
        self._cache.move_to_end(hashed)
        return found

    def _judged(self, sent: bytes, read: Callable[[bytes], str], now: float, client: str) -> Principal:
        self._budget.check(client)
        began = thread_time()
        try:
            holder = self._holder(read(sent), now)
            if self._revoked.end(holder):
                raise _refused("revoked")
        except (BadCredential, InvalidToken):
            self._budget.charge(client, thread_time() - began)
            raise
        self._budget.trust(client)
        return holder

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
                return self._holder_of_token(credential, now)
            case "token":
                raise _refused("neither a key nor a ticket nor a token")

    def _holder_of_ticket(self, credential: str, now: float) -> Principal:
        try:
            ticket = tickets.unseal(credential, self.secrets, now)
        except TicketEnded:
            raise InvalidToken(TICKET_EXPIRED, reason="the ticket has expired") from None
        except BadTicket as error:
            raise _refused(f"bad ticket: {error}") from None
        if not self._answers(ticket.by):
            whose = f"the key {ticket.by.name!r}" if ticket.by.digest else f"the issuer {ticket.by.name!r}"
            raise _refused(f"the ticket is of {whose}, which is no longer configured")
        return Principal.of_ticket(ticket, self._quota(ticket.by), tickets.signer(credential))

    def _answers(self, by: By) -> bool:
        """Whether the key or issuer that issued a ticket is configured."""
        return self.keys.answers(by) or (self.issuers is not None and self.issuers.answers(by))

    def _quota(self, by: By) -> Quota:
        """The quota of each holder of a ticket that this key or issuer issued."""
        return self.keys.quota(by) if by.digest or self.issuers is None else self.issuers.quota(by)

    def _holder_of_token(self, credential: str, now: float) -> Principal:
        if self.issuers is None:
            raise _refused("tokens are not accepted" if tokens_installed() else "roomcast[jwt] is not installed")
        try:
            return self.issuers.holder(credential, now)
        except TokenExpired as error:
            raise InvalidToken(EXPIRED, reason=f"bad token: {error}") from None
        except BadToken as error:
            raise _refused(f"bad token: {error}") from None
        except KeysAway:
            raise RightsUnavailable("try again: this token cannot be verified now") from None

    def _keep(self, hashed: bytes, principal: Principal) -> Principal:
        self._cache[hashed] = principal
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return principal


def fingerprint(sent: bytes) -> bytes:
    """The cache key of a credential: its BLAKE2b hash, 32 bytes, which takes half of the time of SHA-256."""
    return hashlib.blake2b(sent, digest_size=32).digest()


def tokens_installed() -> bool:
    """Whether joserfc is installed, which tokens need."""
    return find_spec("joserfc") is not None


def _issuers(settings: Settings, secrets: Secrets) -> Issuers | None:
    """Raises `CannotStart`."""
    if not (settings.issuers or secrets):
        return None
    if not tokens_installed():
        if settings.issuers:
            raise CannotStart("[[issuer]] needs joserfc, which is not installed: `pip install 'roomcast[jwt]'`")
        return None
    from roomcast.auth.tokens.issuer import of_row, of_secrets  # late: cryptography is 17 MB
    from roomcast.auth.tokens.issuers import Issuers

    if secrets and any(row.iss is None for row in settings.issuers):
        raise BadOption("[[issuer]] needs iss beside a secret: tokens without iss belong to the secret")
    return Issuers([of_row(row) for row in settings.issuers], of_secrets(secrets) if secrets else None)


def secrets_of(settings: Settings) -> Secrets:
    """The secrets of these settings. Blocks: it reads files. Raises `CannotStart`."""
    if settings.secret is None:
        return Secrets.read(settings.secret_files)
    if settings.secret_files:
        raise BadOption("a secret is given twice, as text and as a file: remove ROOMCAST_SECRET or --secret-file")
    return Secrets.of_text(settings.secret, "the secret in ROOMCAST_SECRET")


def _refused(reason: str) -> InvalidToken:
    return InvalidToken(NOT_VALID, reason=reason)
