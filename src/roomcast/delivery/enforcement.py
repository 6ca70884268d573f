"""Enforces on this server what is revoked in the log or by a new configuration.

Later requests are checked against the new rights. Streams were checked when they began, so each is checked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from roomcast.auth.guard import Guard
from roomcast.delivery.streams import Streams
from roomcast.log.base import Log
from roomcast.model.errors import LogUnavailable
from roomcast.model.revocation import Revocation

LOOK_SECONDS = 1.0
"""Seconds between two looks at the log. A revocation must be in force within 5 s on all servers of a log; the
heartbeat takes another second to check the streams."""


class Enforcement:
    """Tells one server's guard and streams what is revoked."""

    def __init__(self, log: Log, streams: Streams, guard: Guard) -> None:
        self._log = log
        self.guard = guard
        """Checks requests by the rights in force."""
        self._rows: Sequence[Revocation] = ()
        guard.changed = lambda: streams.recheck(guard.may_still_follow)

    async def look(self) -> None:
        """Reads the log's revocations, and gives the guard new ones. Raises `LogUnavailable`."""
        rows = await self._log.revocations()
        if rows is not self._rows:
            self._rows = rows
            self.guard.revoke(rows)

    async def run(self) -> None:
        """Looks once a second, for ever. While the log is away, the known revocations stay in force. Also has
        issuers' keys fetched when they are due."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.guard.refresh_keys()
            try:
                await self.look()
            except LogUnavailable:
                continue
