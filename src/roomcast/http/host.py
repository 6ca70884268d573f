"""The login of the program around us: who asks, by what it knows of a request."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any

from roomcast.api.request import TICKET, Head, Route
from roomcast.auth.credentials import is_ours
from roomcast.auth.host import Ask, Rights
from roomcast.auth.principal import Principal
from roomcast.auth.rights import EXPIRED
from roomcast.http.same_site import check_same_site
from roomcast.model.errors import InvalidToken, RightsUnavailable

_IS_WRONG = "rights= must be an `async def` that returns roomcast.Rights, or None for a stranger; it returned {}"

logger = logging.getLogger("roomcast.server")


class Host:
    """Asks it."""

    def __init__(self, ask: Ask, origins: Collection[str]) -> None:
        """`origins` are those whose pages may send the host's cookies along."""
        self._ask = ask
        self._origins = origins

    def knows(self, route: Route, values: Mapping[bytes, bytes]) -> bool:
        """Whether it is the host who decides: not where nobody is asked for, where only a key can give the right,
        and where a key or a ticket of ours is sent."""
        if not route.asks_who or route.by_key_only or (route.takes_ticket and TICKET in values):
            return False
        return not is_ours(values.get(b"authorization", b""))

    async def identify(
        self, scope: MutableMapping[str, Any], head: Head, values: Mapping[bytes, bytes]
    ) -> Principal | None:
        """Who asks; None for a stranger.

        Raises `RightsUnavailable` where the host fails, `InvalidToken` where its rights are over, and `NotServed`
        where another site's page may have sent the host's cookie."""
        rights = await self._rights(scope)
        if rights is None:
            return None
        # No page can send a bearer that it was not given, whereas Basic goes along like a cookie.
        if not values.get(b"authorization", b"").lower().startswith(b"bearer "):
            check_same_site(head, values, self._origins, scope.get("scheme", "http"))
        principal = rights.principal()
        if principal.until is not None and principal.until <= time.time():
            raise InvalidToken(EXPIRED, reason="the rights that the host gives are over")
        return principal

    async def _rights(self, scope: MutableMapping[str, Any]) -> Rights | None:
        try:
            rights = await self._ask(scope)
            if rights is None or isinstance(rights, Rights):
                return rights
            raise TypeError(_IS_WRONG.format(type(rights).__name__))
        except Exception as error:
            logger.error("rights= failed", exc_info=error)
            raise RightsUnavailable("try again: the program's login does not answer now") from None
