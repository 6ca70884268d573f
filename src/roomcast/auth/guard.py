"""Finds the principal of each request. Of several credentials in one request, only the first decides."""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from roomcast.auth import credentials
from roomcast.auth.credentials import NOT_VALID, TICKET_EXPIRED
from roomcast.auth.from_settings import rights_from
from roomcast.auth.principal import EVERYBODY, Principal
from roomcast.auth.rights import ConfiguredRights
from roomcast.model.errors import Fault, Invalid, InvalidToken, RoomcastError
from roomcast.model.fields import ANONYMOUS
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection
from roomcast.model.settings import Settings

_IN_URL = re.compile(r".*(?:ticket|token|jwt|secret|password|api.?key).*|auth|authorization|key", re.I | re.S)
"""Query parameters that name a credential. URLs end up in logs, histories and `Referer`. Likely misspellings are
included: a ticket in `tickets=` would otherwise be ignored."""
_LONGEST_NAME = 32
_COOKIE, _TICKET = b"\ncookie=", b"\nticket="
"""Put in front of a credential from a cookie or from the ticket parameter, before it is hashed for the cache. The
same text from another place, such as a header without a scheme, then has another hash: no header has a line
feed."""
_OPEN = replace(EVERYBODY, admin=False)
"""Everybody in open mode: deleting takes a key."""


class Mode(enum.Enum):
    """The rights of clients that send no credential."""

    LOCAL = "local"
    """Clients on this machine may do everything, and others nothing: no rights are configured."""
    OPEN = "open"
    """Every client may read and publish."""
    RIGHTS = "rights"
    """They have the rights that the configuration grants to anonymous clients."""


class Guard:
    """Finds the principal of each request."""

    def __init__(self, mode: Mode, rights: ConfiguredRights) -> None:
        self.mode = mode
        self.changed: Callable[[], None] = lambda: None
        """Called when the rights in force have changed."""
        self._logged: Sequence[Revocation] = ()
        """The revocations that the log keeps."""
        self.enforce(rights)

    @classmethod
    def of(cls, settings: Settings, unconfigured: Mode = Mode.LOCAL) -> Guard:
        """The guard for these `settings`; `unconfigured` is its mode if they configure no rights. Blocks: it reads
        the files of secrets. Raises `CannotStart`."""
        rights = rights_from(settings)
        if settings.open:
            return cls(Mode.OPEN, rights)
        return cls(Mode.RIGHTS if rights.configured else unconfigured, rights)

    def start_fetching(self) -> None:
        """Starts fetching the issuers' keys. When a key is withdrawn, the holders of tokens that it signed are
        checked again."""
        self.rights.start_fetching(self._keys_changed)

    def refresh_keys(self) -> None:
        """Begins to fetch the issuers' keys that are no longer fresh."""
        if self.rights.issuers is not None:
            self.rights.issuers.refresh_if_due()

    def stop_fetching(self) -> None:
        """Ends what `start_fetching` began."""
        self.rights.stop_fetching()

    def replace(self, rights: ConfiguredRights) -> None:
        """Puts `rights` in force, and fetches the keys of their issuers instead of those of the earlier rights."""
        rights.start_fetching(self._keys_changed, self.rights)
        self.rights.stop_fetching()
        self.enforce(rights)

    def _keys_changed(self) -> None:
        self.changed()

    def enforce(self, rights: ConfiguredRights) -> None:
        """Puts `rights` in force, in the mode that the server was started in. Fetches no keys."""
        rights.revoke(self._logged)
        self.rights = rights
        self.checks_credentials: bool = self.mode is Mode.RIGHTS or (self.mode is Mode.OPEN and rights.configured)
        """Whether credentials are checked. If nothing is configured, they are meant for another program: nginx
        passes on those for its own `auth_basic`."""
        self.cookie: bytes = rights.cookie.encode() if rights.cookie and self.checks_credentials else b""
        """The name of the cookie that holds a credential; empty if no cookie is checked."""
        opened = replace(_OPEN, quota=rights.anonymous.quota)
        by_mode = {Mode.LOCAL: EVERYBODY, Mode.OPEN: opened, Mode.RIGHTS: rights.anonymous}
        self.anonymous: Principal = by_mode[self.mode]
        """The principal of a client that sends no credential."""
        self.changed()

    def revoke(self, logged: Sequence[Revocation]) -> None:
        """Puts `logged`, all revocations in the log, in force in addition to those of the configuration. They
        replace the `logged` of the last call, and streams are checked again."""
        self._logged = logged
        self.rights.revoke(logged)
        self.changed()

    def may_still_follow(self, holder: object, selection: Selection) -> bool:
        """Whether `holder` may still follow all of `selection` by the rights now in force."""
        current = self._current(holder) if isinstance(holder, Principal) else None
        if current is None:
            return False
        rooms, prefixes = selection
        return not current.read.lacking(rooms) and all(map(current.read.covers_prefix, prefixes))

    def _current(self, principal: Principal) -> Principal | None:
        if principal.kind == ANONYMOUS:
            return self.anonymous
        return principal if principal.kind == "host" else self.rights.current(principal)

    def identify(
        self,
        authorization: bytes | None,
        ticket: bytes | None = None,
        cookie: bytes | None = None,
        *,
        resumes: bool = False,
        client: Callable[[], str] = lambda: "",
    ) -> Principal:
        """The principal of a request. The first of these that was sent decides alone: `authorization` (the value
        of that header), the `ticket` in the query, the value of the `cookie`. A ticket in the query opens
        streams for a minute; after that it only resumes them, so `resumes` must be true. `client` names the
        client; it is called if the credential is not in the cache.

        Raises `BadCredential` and `InvalidToken`: the sender of a bad credential is never anonymous. Raises
        `TooManyBad` and `RightsUnavailable` if the credential cannot be judged now."""
        if (authorization is None and ticket is None and cookie is None) or not self.checks_credentials:
            return self.anonymous
        rights, now = self.rights, time.time()
        if authorization is not None:
            return rights.identify_sent(authorization, credentials.of_authorization, now, client)
        if ticket is None:
            assert cookie is not None
            return rights.identify_sent(_COOKIE + cookie, credentials.of_pair, now, client)
        found = rights.identify_sent(_TICKET + ticket, credentials.of_pair, now, client)
        if found.ticket is None:
            raise InvalidToken(NOT_VALID, reason="the URL's ticket parameter holds no ticket")
        if not resumes and not found.ticket.may_open(now):
            raise InvalidToken(TICKET_EXPIRED, reason="the ticket in the URL no longer opens streams")
        return found

    def check_url(self, names: Sequence[str]) -> None:
        """Raises `Invalid` if one of `names`, those of a request's query parameters, names a credential. Does
        nothing in the modes LOCAL and OPEN. The caller leaves out a ticket that the route accepts."""
        if self.mode is Mode.RIGHTS and (wrong := [name for name in names if _IN_URL.fullmatch(name)]):
            raise in_url(wrong)


NO_GUARD: Final = Guard(Mode.LOCAL, ConfiguredRights())
"""The guard of a server without rights."""


def in_url(names: Sequence[str]) -> RoomcastError:
    """The error for credentials in a query; `names` are those of their parameters."""
    hint = (
        "is no place for a credential: send it as a bearer, in the header Authorization, or follow with a ticket"
    )
    # A long name may itself be a credential.
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[:3]}…" for name in names]
    return Invalid(f"the query's {shown[0]} {hint}", [Fault(f"/{name}", hint) for name in shown])
