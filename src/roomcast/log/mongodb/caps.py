"""The collection's caps in force, which may differ from the configured ones."""

from __future__ import annotations

import asyncio
import logging
import math

from roomcast.log.mongodb.opening import Store
from roomcast.model.retention import Retention

_log = logging.getLogger("roomcast.log")


class MongoCaps:
    """The caps in force. Any user of the database may change them with `collMod`, and the database notifies
    nobody. So they are read again now and then, and when something suggests a change."""

    def __init__(self, store: Store, configured: Retention, seconds: float) -> None:
        """`seconds`: the time between two reads if nothing suggests a change."""
        self.retention = configured
        """The caps as they were read last; until then the configured ones."""
        self._store = store
        self.configured = configured
        """The caps that the user configured; they only create the collection."""
        self._seconds = seconds
        self._read_at = -math.inf
        """When the caps were read last, on the loop's clock."""
        self._retained = 0
        """How many messages the log held at the last `note_retained`."""

    def note(self, caps: Retention) -> None:
        """Takes over `caps`, which were just read. Warns if they are new and differ from the configuration."""
        self._read_at = asyncio.get_running_loop().time()
        before, self.retention = self.retention, caps
        if caps != before:
            self._warn()

    def invalidate(self) -> None:
        """Makes the next `refresh` read the caps, because something suggests a change."""
        self._read_at = -math.inf

    def note_retained(self, messages: int) -> None:
        """Notes that the log holds `messages` messages now. If it held more before, the caps may have changed."""
        if messages < self._retained:  # with unchanged caps this happens only if a long message follows short ones
            self.invalidate()
        self._retained = messages

    async def refresh(self) -> None:
        """Reads the caps if it is time. Raises `LogUnusable` and `PyMongoError`."""
        if asyncio.get_running_loop().time() - self._read_at >= self._seconds:
            caps = await self._store.caps()
            if caps:  # otherwise the collection is gone; the tail finds that out
                self.note(caps)

    def _warn(self) -> None:
        """The collection's caps win. The user who configured others should know that."""
        # The server rounds a size up to a multiple of 256, and does not change a number of messages.
        for name, multiple in (("max_messages", 1), ("max_bytes", 256)):
            capped, wanted = getattr(self.retention, name), getattr(self.configured, name)
            if not wanted <= capped < wanted + multiple:
                option = name.replace("_", "-")
                _log.warning(
                    "the collection's own cap is in force: %s %d, not --%s %d. Change one of the two (collMod)",
                    *(name, capped, option, wanted),
                )
