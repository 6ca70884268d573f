"""The collection's caps: those in force, not those that were asked for."""

from __future__ import annotations

import asyncio
import logging
import math

from roomcast.log.mongodb.opening import Store
from roomcast.model.retention import Retention

_log = logging.getLogger("roomcast.log")


class Caps:
    """What is retained. Anybody may change it with `collMod`, and the database tells nobody, so it is read again
    now and then, and when something suggests a change."""

    def __init__(self, store: Store, asked: Retention, seconds: float) -> None:
        """`seconds`: between two reads where nothing suggests a change."""
        self.retention = asked
        self._store = store
        self.asked = asked
        self._seconds = seconds
        self._read_at = -math.inf
        """On the loop's clock."""
        self._held = 0

    def take(self, caps: Retention) -> None:
        """These are in force now."""
        self._read_at = asyncio.get_running_loop().time()
        before, self.retention = self.retention, caps
        if caps != before:
            self._warn()

    def suspect(self) -> None:
        """They may have been changed: the next look reads them."""
        self._read_at = -math.inf

    def note_held(self, messages: int) -> None:
        """The log holds so many now."""
        if messages < self._held:  # with the same caps only a long message after short ones does that
            self.suspect()
        self._held = messages

    async def look(self) -> None:
        """Reads them where it is time. Raises `LogUnusable` and `PyMongoError`."""
        if asyncio.get_running_loop().time() - self._read_at >= self._seconds:
            caps = await self._store.caps()
            if caps:  # otherwise the collection is gone, which the tail sees to
                self.take(caps)

    def _warn(self) -> None:
        """The collection's caps win; a person who asked for others should know."""
        for name in ("max_messages", "max_bytes"):
            capped, wanted = getattr(self.retention, name), getattr(self.asked, name)
            # The server rounds a size up to a multiple of 256.
            if not wanted <= capped < wanted + 256:
                option = name.replace("_", "-")
                _log.warning(
                    "the collection's own cap is in force: %s %d, not --%s %d. Change one of the two (collMod)",
                    *(name, capped, option, wanted),
                )
