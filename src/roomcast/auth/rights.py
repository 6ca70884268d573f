"""The rights of a server: whom a credential makes somebody, by what is configured.

They never change, but for what is revoked: those of a configuration that was read again are another object, with a
cache of its own, which takes the place of this one as a whole.
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
        issuers: Issuers | None = None,
        read: Grants | None = None,
        publish: Grants | None = None,
        quota: Quota = UNLIMITED,
        cookie: str | None = None,
        revoked: Sequence[Revocation] = (),
    ) -> None:
        """`issuers` is None where no token is taken. `read` and `publish` are what requests without a credential
        may do, nothing by default; `quota` is how much each of their addresses may. `cookie` is the name of the
        one that has a credential in it; None: there is none."""
        self.generation = next(_generations)
        """Later rights have a greater one: a principal that was kept may be of earlier ones."""
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
        """Whoever sends no credential."""
        self._configured_revoked = revoked
        self._revoked = Revocations(revoked)
        self._cache: OrderedDict[bytes, Principal] = OrderedDict()
        """Holders of credentials, by the credential's hash; only of good ones, so that nobody can fill it who has
        none."""
        self._budget = Budget()

    @classmethod
    def of(cls, settings: Settings) -> Rights:
        """Those that the settings give. Blocks, since it reads the secrets' files. Raises `CannotStart`."""
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
        """Whether anybody has said who may do what."""
        strangers = self.anonymous.read or self.anonymous.publish
        return bool(self.keys or self.secrets or self.issuers or self.cookie or strangers)

    def open(self, changed: Callable[[], None] = lambda: None, before: Rights | None = None) -> None:
        """Has the keys of issuers fetched, on the running loop, and begins with those that `before` knows.
        `changed` is called whenever they are not what they were."""

        def forget() -> None:
            self._cache.clear()
            changed()

        if self.issuers is not None:
            self.issuers.open(forget, before.issuers if before else None)

    async def fetched(self) -> None:
        """Returns when no keys of issuers are being fetched."""
        if self.issuers is not None:
            await self.issuers.fetched()

    def close(self) -> None:
        """Ends what `open` began."""
        if self.issuers is not None:
            self.issuers.close()

    def revoke(self, logged: Sequence[Revocation]) -> None:
        """From now on these are revoked, beside those of the configuration. Nothing is remembered from before."""
        self._revoked = Revocations([*self._configured_revoked, *logged])
        self._cache.clear()

    def now(self, principal: Principal) -> Principal | None:
        """What somebody may by these rights, whose credential was good by earlier ones; None where it is not."""
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
            raise _refused(f"the ticket is of {whose}, which is not configured any more")
        return Principal.of_ticket(ticket, self._quota(ticket.by), tickets.signer(credential))

    def _answers(self, by: By) -> bool:
        """Whether the key or the issuer that answers for a ticket is configured."""
        return self.keys.answers(by) or (self.issuers is not None and self.issuers.answers(by))

    def _quota(self, by: By) -> Quota:
        """What each of those may have to whom this key or this issuer gives tickets."""
        return self.keys.quota(by) if by.digest or self.issuers is None else self.issuers.quota(by)

    def _holder_of_token(self, credential: str, now: float) -> Principal:
        if self.issuers is None:
            raise _refused("tokens are not taken here" if tokens_installed() else "tokens are not installed here")
        try:
            return self.issuers.holder(credential, now)
        except TokenExpired as error:
            raise InvalidToken(EXPIRED, reason=f"bad token: {error}") from None
        except BadToken as error:
            raise _refused(f"bad token: {error}") from None
        except KeysAway:
            raise RightsUnavailable("try again: whether this token is good cannot be said now") from None

    def _keep(self, hashed: bytes, principal: Principal) -> Principal:
        self._cache[hashed] = principal
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return principal


def fingerprint(sent: bytes) -> bytes:
    """What a credential is remembered by. No other has the same, and nothing of it can be told from it. It takes
    half of the time of SHA-256."""
    return hashlib.blake2b(sent, digest_size=32).digest()


def tokens_installed() -> bool:
    """Whether the extra is there that tokens need."""
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
        raise BadOption("[[issuer]] needs iss beside a secret, whose tokens are those that have none")
    return Issuers([of_row(row) for row in settings.issuers], of_secrets(secrets) if secrets else None)


def secrets_of(settings: Settings) -> Secrets:
    """Those that the settings give. Blocks. Raises `CannotStart`."""
    if settings.secret is None:
        return Secrets.read(settings.secret_files)
    if settings.secret_files:
        raise BadOption(
            "a secret is given twice, as text and as a file: take ROOMCAST_SECRET or --secret-file away"
        )
    return Secrets.of_text(settings.secret, "the secret in ROOMCAST_SECRET")


def _refused(reason: str) -> InvalidToken:
    return InvalidToken(NOT_VALID, reason=reason)
