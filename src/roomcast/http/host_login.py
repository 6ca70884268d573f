"""The login of a host application: it gives the principal of a request."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any

from roomcast.api.request import TICKET, Head, Route
from roomcast.auth.credentials import EXPIRED, is_ours
from roomcast.auth.host import Rights, RightsFunction
from roomcast.auth.principal import Principal
from roomcast.http.same_site import check_same_site
from roomcast.model.errors import InvalidToken, RightsUnavailable

_WRONG_TYPE = "rights= must be an `async def` that returns roomcast.Rights, or None for a stranger; it returned {}"

logger = logging.getLogger("roomcast.server")


class HostLogin:
    """Calls the host's `rights=` function."""

    def __init__(self, ask: RightsFunction, origins: Collection[str]) -> None:
        """`origins` are the origins whose pages may send the host's cookies."""
        self._ask = ask
        self._origins = origins

    def decides(self, route: Route, values: Mapping[bytes, bytes]) -> bool:
        """Whether the host's login decides a request for `route`. It does not if the route needs no principal, if
        only a key can give the right, or if `values`, the request's own fields, hold a key or ticket of ours."""
        if not route.needs_principal or route.by_key_only or (route.takes_ticket and TICKET in values):
            return False
        return not is_ours(values.get(b"authorization", b""))

    async def identify(
        self, scope: MutableMapping[str, Any], head: Head, values: Mapping[bytes, bytes]
    ) -> Principal | None:
        """The principal that the host names for the request in `scope`; None for a stranger. `head` and `values`
        are the request's shared and own fields.

        Raises `RightsUnavailable` if the host's function fails, `InvalidToken` if the rights that it gives have
        expired, and `NotServed` if another site's page may have sent the host's cookie."""
        rights = await self._rights(scope)
        if rights is None:
            return None
        # A page cannot send a bearer token that it does not have. Browsers send Basic credentials by themselves,
        # as they send cookies.
        if not values.get(b"authorization", b"").lower().startswith(b"bearer "):
            check_same_site(head, values, self._origins, scope.get("scheme", "http"))
        principal = rights.principal()
        if principal.until is not None and principal.until <= time.time():
            raise InvalidToken(EXPIRED, reason="the rights that the host gives have expired")
        return principal

    async def _rights(self, scope: MutableMapping[str, Any]) -> Rights | None:
        try:
            rights = await self._ask(scope)
            if rights is None or isinstance(rights, Rights):
                return rights
            raise TypeError(_WRONG_TYPE.format(type(rights).__name__))
        except Exception as error:
            logger.error("rights= failed", exc_info=error)
            raise RightsUnavailable("try again: the application's login does not answer now") from None
