"""Notifies the other servers that there is something new. This only makes delivery faster: every server also
polls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.errors import Failure


class Notifier:
    """Sends notifications, one at a time: requests during a notification are merged into one."""

    def __init__(self, session: Session, payload: Callable[[], str]) -> None:
        """`payload` returns the text of a notification that is sent now."""
        self.needed = True
        """Whether other servers run. A notification costs about as much as a small transaction."""
        self._session = session
        self._payload = payload
        self._sending: asyncio.Task[None] | None = None
        self._again = False
        """Whether to send one more notification."""

    def notify(self) -> None:
        """Notifies the other servers soon, if there are any."""
        if self.needed:
            self._again = True
            if self._sending is None:
                self._sending = asyncio.create_task(self._send())

    async def finish(self) -> None:
        """Waits until all notifications are sent."""
        if self._sending:
            await asyncio.wait([self._sending])

    async def _send(self) -> None:
        try:
            while self._again:
                self._again = False
                await self._session.rows("tell_others", self._payload())
        except Failure:
            pass  # the others poll within a second
        finally:
            self._sending = None
