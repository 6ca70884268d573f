"""What is revoked, in the log or by another configuration, in force on this server.

Requests are judged by it from then on. Streams were judged when they began, so each is judged once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from roomcast.auth.guard import Guard
from roomcast.delivery.stream import Streams
from roomcast.log.base import Log
from roomcast.model.errors import LogUnavailable
from roomcast.model.revocation import Revocation

LOOK_SECONDS = 1.0
"""Between two looks at what the log has. It is in force within 5 s on all servers of a log; another second goes by
until the heartbeat looks at the streams."""


class Enforcement:
    """Between the log, the guard and the streams of one server."""

    def __init__(self, log: Log, streams: Streams, guard: Guard) -> None:
        self._log = log
        self._guard = guard
        self._rows: Sequence[Revocation] = ()
        guard.changed = lambda: streams.doubt(guard.lets_go_on)

    async def look(self) -> None:
        """Takes over what is revoked in the log. Raises `LogUnavailable`."""
        rows = await self._log.revocations()
        if rows is not self._rows:
            self._rows = rows
            self._guard.revoke(rows)

    async def run(self) -> None:
        """Looks again and again, for ever. While the log is away, what was known counts."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except LogUnavailable:
                continue
