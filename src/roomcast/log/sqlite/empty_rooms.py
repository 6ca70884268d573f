"""Forgets rooms without messages. Without a bound, every room ever used would be remembered."""

from __future__ import annotations

from roomcast.log.sqlite.write_cache import WriteCache
from roomcast.log.sqlite.write_connection import WriteConnection

_STEP = 200
"""How many rooms are forgotten at once."""


class EmptyRooms:
    """The remembered rooms without messages. They are forgotten in the order of their last messages."""

    def __init__(self, database: WriteConnection, cache: WriteCache, limit: int) -> None:
        """`limit`: how many rooms without messages are remembered."""
        self._database = database
        self._cache = cache
        self._limit = limit
        self._estimate = 2 * limit + 1
        """How many there may be: the last count (at first a number that leads to a count soon), plus one for each
        message trimmed since."""

    def note_trimmed(self, messages: int) -> None:
        """Notes that this many messages were trimmed; each may have been the last of its room."""
        self._estimate += messages

    def tidy(self) -> None:
        """Forgets one step of the rooms beyond the limit. Counting them takes a while, so they are counted only
        when there may be a tenth too many."""
        if self._estimate > self._limit + self._limit // 10:
            self._estimate = self._database.value("count_empty_rooms", {})
            count = min(self._estimate - self._limit, _STEP)
            if count > 0:
                self._database.run("forget_rooms", {"count": count})
                self._estimate -= count
                self._cache.forget()
