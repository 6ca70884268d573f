"""Keeps the row that says that this server runs and how far it has delivered. Also removes old shared rows."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from roomcast.log.clock import now_ms
from roomcast.log.postgresql.connection import Session
from roomcast.log.sequencer import GONE_KEYS, KEY_MS

_UNCHANGED_SECONDS = 2.0
"""Seconds between two records of an unchanged position. Other servers do not trim past the position of a server
whose record is less than 5 s old."""
_TIDY_SECONDS = 60.0


class Presence:
    """This server among the servers of its log."""

    def __init__(self, session: Session, note_seconds: float, remembered: int) -> None:
        """`note_seconds`: the seconds between two records of a changing position. `remembered`: for how many of
        the newest messages the log keeps the room, even after the messages are gone."""
        self.server = secrets.token_hex(8)
        """The name of this process, unique on the log."""
        self.position: int | None = None
        """The position that was recorded last; None if this server holds back no trimming."""
        self._session = session
        self._note_seconds = note_seconds
        self._remembered = remembered
        self._noted_at = self._tidied_at = float("-inf")

    async def record_if_due(self, position: int | None) -> None:
        """Calls `record` with `position` if the last record is old enough. Raises what the driver raises."""
        now = asyncio.get_running_loop().time()
        due = _UNCHANGED_SECONDS if position == self.position else self._note_seconds
        if now - self._noted_at >= due:
            await self.record(position)

    async def record(self, position: int | None) -> None:
        """Records that this server runs and has delivered up to `position`; no other server trims further. None:
        it holds back no trimming. Raises what the driver raises."""
        await self._session.rows("note_server", self.server, position)
        self.position, self._noted_at = position, asyncio.get_running_loop().time()

    async def tidy(self) -> None:
        """Once a minute, removes rows that no server needs. Raises what the driver raises."""
        now = asyncio.get_running_loop().time()
        if now - self._tidied_at >= _TIDY_SECONDS:
            self._tidied_at = now
            await self._session.rows("forget_servers", self._remembered)
            await self._session.rows("forget_keys", now_ms() - KEY_MS, GONE_KEYS)

    async def end(self) -> None:
        """Removes this server's row. Fails silently."""
        with suppress(Exception):  # if this fails, the other servers wait 5 s for this one
            await self._session.rows("end_server", self.server)
