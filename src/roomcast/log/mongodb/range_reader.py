"""Reads the documents after the newest one seen. If that one is missing, finds out why."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from roomcast.log.mongodb.documents import AppendDocument
from roomcast.log.mongodb.reader import MongoReader
from roomcast.log.mongodb.view import NewestSeen, View
from roomcast.log.outage import HistoryChanged
from roomcast.model.errors import LogUnavailable


class RangeReader:
    """Brings a view up to date."""

    def __init__(self, reader: MongoReader, stale_seconds: float) -> None:
        """`stale_seconds`: how long a new primary may lack a document before it counts as lost."""
        self._reader = reader
        self._stale_seconds = stale_seconds
        self._missing_since: float | None = None
        """When the newest seen document was first found missing, on the loop's clock."""

    async def read(self, view: View) -> bool:
        """Reads the next documents into `view`, as many as one read returns. Returns whether these were the last.
        Raises `HistoryChanged` unless the view is `filling`, and `LogUnavailable`, `PyMongoError`."""
        seen, reader = view.seen, self._reader
        entries, whole = await (reader.range_since(seen.first) if seen.nonce else reader.range(max(1, seen.last)))
        # Compared with what was seen before the read: the view may have grown meanwhile.
        if seen.nonce and not view.filling and not (entries and entries[0].first <= seen.last):
            await self._find_missing(seen, entries)
        self._missing_since = None
        for entry in entries:
            if not view.absorb(entry):
                await self._bridge(view, entry)
        return whole

    async def _find_missing(self, seen: NewestSeen, entries: Sequence[AppendDocument]) -> None:
        """Decides why the newest seen document is missing: it is trimmed (returns), not yet on a new primary
        (raises `LogUnavailable`) or lost (raises `HistoryChanged`). `entries`: the documents after it."""
        oldest = await self._reader.oldest()
        if oldest and oldest.first > seen.last:
            return
        now = asyncio.get_running_loop().time()
        self._missing_since = self._missing_since or now
        if entries or now - self._missing_since > self._stale_seconds:
            raise HistoryChanged
        raise LogUnavailable(
            "The database does not have what it confirmed: it may need a moment after a failover."
        )

    async def _bridge(self, view: View, entry: AppendDocument) -> None:
        """Decides why something is missing before `entry`. Documents are only added after the newest, so it was
        trimmed, or the history has changed, or a user of the database deleted it before the view was filled."""
        oldest = await self._reader.oldest()
        if oldest and oldest.first >= entry.first:
            view.jump(oldest)
            view.absorb(entry)
        elif view.filling:
            view.skip_to(entry)
        else:
            raise HistoryChanged
