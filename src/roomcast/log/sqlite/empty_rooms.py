"""Forgets rooms without messages. Without a bound, every room ever used would be remembered."""

from __future__ import annotations

from roomcast.log.sqlite.write_cache import WriteCache
from roomcast.log.sqlite.write_connection import WriteConnection

_STEP = 200
"""How many rooms are forgotten at once."""


class EmptyRooms:
    """The remembered rooms without messages. Those that have been empty for longest are forgotten first."""

    def __init__(self, database: WriteConnection, cache: WriteCache, most: int) -> None:
        """`most`: how many are remembered."""
        self._database = database
        self._cache = cache
        self._most = most
        self._maybe = 2 * most + 1
        """How many there may be: the last count (at first a number that leads to a count soon), plus one for each
        message trimmed since."""

    def note_trimmed(self, messages: int) -> None:
        """Notes that this many messages were trimmed; each may have been the last of its room."""
        self._maybe += messages

    def tidy(self) -> None:
        """Forgets one step of the rooms beyond the limit. Counting them takes a while, so they are counted only
        when there may be a tenth too many."""
        if self._maybe > self._most + self._most // 10:
            self._maybe = self._database.value("count_empty_rooms", {})
            count = min(self._maybe - self._most, _STEP)
            if count > 0:
                self._database.run("forget", {"count": count})
                self._maybe -= count
                self._cache.forget()
