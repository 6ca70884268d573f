"""Repairs the times of a clock that was ahead."""

from __future__ import annotations

import apsw

from roomcast.log.sqlite.queries import QUERIES
from roomcast.log.sqlite.reader import SqliteReader
from roomcast.model.rooms import Selection


def clamp_times(connection: apsw.Connection, now: int) -> int:
    """Moves all times after `now` (ms since 1970) to `now`: those of messages, rooms and keys. So times stay in
    the order of ids, and the next message gets the clock's time. `connection`: the writer's.

    Returns the number of such messages. Raises `apsw.Error`; then nothing is changed."""
    with connection:
        position = SqliteReader(connection).seek_time(Selection.of(), now + 1)
        connection.execute(QUERIES["clamp_times"], {"now": now, "position": position})
        [[count]] = list(connection.execute(QUERIES["count_newest"], {"after": position}))
    return int(count)
