"""The credential of a request that decides, and the principal that it stands for."""

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
"""Query parameters that name a credential, and likely misspellings: a ticket in `tickets=` would be ignored. URLs
end up in logs, histories and `Referer`."""
_LONGEST_NAME = 32
_OPEN = replace(EVERYBODY, admin=False)
"""Everybody in open mode: deleting takes a key."""


class Mode(enum.Enum):
    """The clients that are served without a credential."""

    LOCAL = "local"
    """Every client on this machine and no other: nothing is configured."""
    OPEN = "open"
    """Everybody."""
    RIGHTS = "rights"
    """Each client by the rights that the configuration grants it."""


class Guard:
    """Finds the principal of each request."""

    def __init__(self, mode: Mode, rights: Rights) -> None:
        self.mode = mode
        self.changed: Callable[[], None] = lambda: None
        """Called when the rights in force have changed."""
        self._logged: Sequence[Revocation] = ()
        """The revocations that the log keeps."""
        self.take(rights)

    @classmethod
    def of(cls, settings: Settings, unsaid: Mode = Mode.LOCAL) -> Guard:
        """The guard for these settings; `unsaid` is its mode if nothing is configured. Blocks: it reads the files
        of secrets. Raises `CannotStart`."""
        rights = Rights.of(settings)
        if settings.open:
            return cls(Mode.OPEN, rights)
        return cls(Mode.RIGHTS if rights.configured else unsaid, rights)

    def open(self) -> None:
        """Starts fetching the issuers' keys. When a key is withdrawn, the holders of tokens that it signed are
        checked again."""
        self.rights.open(self._keys_changed)

    def close(self) -> None:
        """Ends what `open` began."""
        self.rights.close()

    def exchange(self, rights: Rights) -> None:
        """Replaces the rights of a guard that is open."""
        rights.open(self._keys_changed, self.rights)
        self.rights.close()
        self.take(rights)

    def _keys_changed(self) -> None:
        self.changed()

    def take(self, rights: Rights) -> None:
        """Puts these rights in force, in the mode that the server was started in."""
        rights.revoke(self._logged)
        self.rights = rights
        self.looks = self.mode is Mode.RIGHTS or (self.mode is Mode.OPEN and rights.configured)
        """Whether credentials are checked. With nothing configured they are meant for others: nginx passes on the
        ones for its own `auth_basic`."""
        self.cookie = rights.cookie.encode() if rights.cookie and self.looks else b""
        """The name of the cookie that holds a credential; empty if no cookie is checked."""
        opened = replace(_OPEN, quota=rights.anonymous.quota)
        by_mode = {Mode.LOCAL: EVERYBODY, Mode.OPEN: opened, Mode.RIGHTS: rights.anonymous}
        self.stranger = by_mode[self.mode]
        """The principal of a client that sends no credential."""
        self.changed()

    def revoke(self, logged: Sequence[Revocation]) -> None:
        """Puts the log's revocations in force, in addition to those of the configuration."""
        self._logged = logged
        self.rights.revoke(logged)
        self.changed()

    def lets_go_on(self, holder: object, selection: Selection) -> bool:
        """Whether `holder` may still follow all of `selection` by the rights now in force."""
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
            raise InvalidToken(NOT_VALID, reason="the URL's ticket parameter holds no ticket")
        if not resumes and not found.ticket.may_open(now):
            raise InvalidToken(TICKET_EXPIRED, reason="the ticket in the URL opens no stream any more")
        return found

    def check_url(self, names: Sequence[str]) -> None:
        """Raises `Invalid` if one of these query parameters names a credential. The caller leaves out a ticket
        that the route accepts."""
        if self.mode is Mode.RIGHTS and (wrong := [name for name in names if _IN_URL.fullmatch(name)]):
            raise in_url(wrong)


NOBODY_ASKED: Final = Guard(Mode.LOCAL, Rights())


def in_url(names: Sequence[str]) -> RoomcastError:
    """The error for credentials in a query, by their names."""
    hint = (
        "is no place for a credential: send it as a bearer, in the header Authorization, or follow with a ticket"
    )
    # A long name may itself be a credential.
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[:3]}…" for name in names]
    return Invalid(f"the query's {shown[0]} {hint}", [Fault(f"/{name}", hint) for name in shown])
