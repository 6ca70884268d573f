"""Takes back the times of a clock that was ahead."""

from __future__ import annotations

import apsw

from roomcast.log.sqlite.queries import QUERIES
from roomcast.log.sqlite.reader import Reader
from roomcast.model.rooms import Selection


def begin_times(connection: apsw.Connection, now: int) -> int:
    """What is from after `now` (ms) is from `now`: messages, and what is known of rooms. So the order of times
    stays the order of ids, and the next message carries the clock's time.

    Gives the number of such messages. Raises `apsw.Error`; then nothing is changed."""
    with connection:
        position = Reader(connection).seek_time(Selection.of(), now + 1)
        connection.execute(QUERIES["begin_times"], {"now": now, "position": position})
        [[count]] = list(connection.execute(QUERIES["count_newest"], {"after": position}))
    return int(count)
