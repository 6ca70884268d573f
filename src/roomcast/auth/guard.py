"""Who asks: which credential of a request decides, and the principal it stands for."""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from roomcast.auth import credentials
from roomcast.auth.credentials import NOT_VALID
from roomcast.auth.principal import EVERYBODY, Principal
from roomcast.auth.rights import TICKET_EXPIRED, Rights
from roomcast.model.errors import Fault, Invalid, InvalidToken, RoomcastError
from roomcast.model.fields import ANONYMOUS
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection
from roomcast.model.settings import Settings

_IN_URL = re.compile(r".*(?:ticket|token|jwt|secret|password|api.?key).*|auth|authorization|key", re.I | re.S)
"""Names of credentials in a query, and what is near them: a `tickets=` would be a ticket that nobody looks at.
URLs end up in logs, histories and `Referer`."""
_LONGEST_NAME = 32
_OPEN = replace(EVERYBODY, admin=False)
"""Everybody in open mode: deleting takes a key."""


class Mode(enum.Enum):
    """Who is served where no credential says so."""

    LOCAL = "local"
    """Everybody on this machine, and nobody else: nothing is configured."""
    OPEN = "open"
    """Everybody."""
    RIGHTS = "rights"
    """Each by what is granted to them."""


class Guard:
    """Finds the principal of each request."""

    def __init__(self, mode: Mode, rights: Rights) -> None:
        self.mode = mode
        self.changed: Callable[[], None] = lambda: None
        """Called when other rights count."""
        self._logged: Sequence[Revocation] = ()
        """What is revoked in the log."""
        self.take(rights)

    @classmethod
    def of(cls, settings: Settings, unsaid: Mode = Mode.LOCAL) -> Guard:
        """That of a server; `unsaid` is its mode where nothing is configured. Blocks, since it reads the secrets'
        files. Raises `CannotStart`."""
        rights = Rights.of(settings)
        if settings.open:
            return cls(Mode.OPEN, rights)
        return cls(Mode.RIGHTS if rights.configured else unsaid, rights)

    def open(self) -> None:
        """Has the keys of issuers fetched from now on. When one is gone, those whose token it signed are judged
        once more."""
        self.rights.open(self._keys_changed)

    def close(self) -> None:
        """Ends what `open` began."""
        self.rights.close()

    def exchange(self, rights: Rights) -> None:
        """As `take`, of a guard that is open."""
        rights.open(self._keys_changed, self.rights)
        self.rights.close()
        self.take(rights)

    def _keys_changed(self) -> None:
        self.changed()

    def take(self, rights: Rights) -> None:
        """From now on these count, in the mode that the server was started in."""
        rights.revoke(self._logged)
        self.rights = rights
        self.looks = self.mode is Mode.RIGHTS or (self.mode is Mode.OPEN and rights.configured)
        """Whether credentials are looked at. Where nothing is configured they are somebody else's: nginx's
        `auth_basic` passes its own on."""
        self.cookie = rights.cookie.encode() if rights.cookie and self.looks else b""
        """The name of the cookie that has a credential in it; empty where none is looked at."""
        opened = replace(_OPEN, quota=rights.anonymous.quota)
        by_mode = {Mode.LOCAL: EVERYBODY, Mode.OPEN: opened, Mode.RIGHTS: rights.anonymous}
        self.stranger = by_mode[self.mode]
        """Whoever sends no credential."""
        self.changed()

    def revoke(self, logged: Sequence[Revocation]) -> None:
        """From now on these are revoked, beside those of the configuration."""
        self._logged = logged
        self.rights.revoke(logged)
        self.changed()

    def lets_go_on(self, holder: object, selection: Selection) -> bool:
        """Whether somebody may still follow these rooms, by the rights that count now."""
        now = self._now(holder) if isinstance(holder, Principal) else None
        if now is None:
            return False
        rooms, prefixes = selection
        return not now.read.lacking(rooms) and all(map(now.read.covers_prefix, prefixes))

    def _now(self, principal: Principal) -> Principal | None:
        if principal.kind == ANONYMOUS:
            return self.stranger
        return principal if principal.kind == "host" else self.rights.now(principal)

    def identify(
        self,
        authorization: bytes | None,
        ticket: bytes | None = None,
        cookie: bytes | None = None,
        *,
        resumes: bool = False,
        client: Callable[[], str] = lambda: "",
    ) -> Principal:
        """Whose credential it is. The header decides where it is there, and then the ticket of a query, which
        opens streams for a minute and after that only `resumes` them; then a cookie, which is taken as a bearer
        is. `client` names the client that sends it, which is asked for where the credential is new.

        Raises `BadCredential` and `InvalidToken`: a bad credential is never a stranger's. Raises `TooManyBad` and
        `RightsUnavailable` where it is not judged, since too many are bad."""
        if (authorization is None and ticket is None and cookie is None) or not self.looks:
            return self.stranger
        rights, now = self.rights, time.time()
        if authorization is not None:
            return rights.whose(authorization, credentials.of_authorization, now, client)
        if ticket is None:
            assert cookie is not None
            # With its place: what was good there is not good as a header without a scheme.
            return rights.whose(b"cookie=" + cookie, credentials.of_pair, now, client)
        found = rights.whose(b"?ticket=" + ticket, credentials.of_pair, now, client)
        if found.ticket is None:
            raise InvalidToken(NOT_VALID, reason="what the URL gives as a ticket is none")
        if not resumes and not found.ticket.may_open(now):
            raise InvalidToken(TICKET_EXPIRED, reason="the ticket in the URL opens no stream any more")
        return found

    def check_url(self, names: Sequence[str]) -> None:
        """Raises `Invalid` where a query of these names has a credential in it, apart from a ticket where one is
        taken."""
        if self.mode is Mode.RIGHTS and (wrong := [name for name in names if _IN_URL.fullmatch(name)]):
            raise in_url(wrong)


NOBODY_ASKED: Final = Guard(Mode.LOCAL, Rights())


def in_url(names: Sequence[str]) -> RoomcastError:
    """The error for credentials in a query, by their names."""
    hint = (
        "is no place for a credential: send it as a bearer, in the header Authorization, or follow with a ticket"
    )
    # A long name may be a credential itself.
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[:3]}…" for name in names]
    return Invalid(f"the query's {shown[0]} {hint}", [Fault(f"/{name}", hint) for name in shown])
