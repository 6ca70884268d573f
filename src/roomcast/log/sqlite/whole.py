"""Whether all is there that must be: found out at the start, and of each read.

SQLite has no checksums: what was changed within a body, nobody can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from roomcast.log.sqlite.queries import QUERIES
from roomcast.log.sqlite.state import State
from roomcast.model.message import Message

CHECKED_BYTES = 64 * 1024 * 1024
"""Up to this size all of a database is checked at the start: 12 ms of CPU for 6 MB, 0.2 s for this. One of 1.4 GB
takes 3 s, and from a disk much longer; there, what is read is checked when it is read."""
CHECKED_MESSAGES = 20_000
"""How many of the newest messages are counted at the start where it is larger."""


_CONTRADICTION = "its tables contradict each other"


def check_database(connection: apsw.Connection, *, whole: bool = False) -> None:
    """Raises `apsw.CorruptError` if something is damaged or missing. Checks what fits into a second, or everything
    with `whole`."""
    try:
        small = whole or _is_small(connection)
        if small:
            _check_pages(connection)
        _check_counts(connection, small)
    except (TypeError, ValueError) as error:  # where a page is another table's, its rows are, too
        raise apsw.CorruptError(_CONTRADICTION) from error


def check_all(messages: Sequence[Message], trimmed: Mapping[str, int], after: int) -> None:
    """Raises `apsw.CorruptError` where these are not all messages after `after`, by what each says of the one
    before it in its room. `trimmed` has how far those rooms are trimmed whose one before is not among them."""
    held = {message.seq for message in messages}
    for message in messages:
        if message.prev > after and message.prev not in held and message.prev > trimmed.get(message.room, 0):
            raise apsw.CorruptError(f"messages before {message.seq} are missing")


def check_rooms(
    messages: Sequence[Message], trimmed: Mapping[str, int], ends: Mapping[str, int], after: int
) -> None:
    """Raises `apsw.CorruptError` where these are not all messages of their rooms after `after`, by what each says
    of the one before it. `ends` has the last one of each room that must be among them, if it is known."""
    last: dict[str, int] = {}
    for message in messages:
        before = last.get(message.room)
        # The first may follow one that is trimmed.
        follows = (
            message.prev <= max(after, trimmed.get(message.room, 0)) if before is None else message.prev == before
        )
        if not follows:
            raise apsw.CorruptError(f"messages before {message.seq} are missing")
        last[message.room] = message.seq
    for room, end in ends.items():
        if end > max(after, trimmed.get(room, 0)) and last.get(room) != end:
            raise apsw.CorruptError(f"message {end} is missing")


def _check_pages(connection: apsw.Connection) -> None:
    [found] = _row(connection, "check_all")
    if found != "ok":
        raise apsw.CorruptError(str(found))


def _check_counts(connection: apsw.Connection, small: bool) -> None:
    state = State(*_row(connection, "load_state"))
    first, last, _, _, messages, size, purges = _row(connection, "check")
    [strange] = _row(connection, "check_rooms")
    within = first is None or state.trimmed < first <= last <= state.newest
    if not within or (messages, size, strange) != (state.messages, state.bytes, 0):
        raise apsw.CorruptError(_CONTRADICTION)
    if state.dense:
        counted = state.messages if small else min(state.messages, CHECKED_MESSAGES)
    elif small and not purges:
        counted = state.messages
    else:
        return
    after = state.newest - counted if counted < state.messages else state.trimmed
    [count] = _row(connection, "count_newest", {"after": after})
    if count != counted:
        raise apsw.CorruptError(_CONTRADICTION)


def _is_small(connection: apsw.Connection) -> bool:
    [small] = _row(connection, "is_small", {"most": CHECKED_BYTES})
    return bool(small)


def _row(connection: apsw.Connection, name: str, parameters: dict[str, Any] | None = None) -> Any:
    [row] = list(connection.execute(QUERIES[name], parameters))
    return row
