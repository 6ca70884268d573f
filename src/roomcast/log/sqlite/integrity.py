"""Checks that nothing is missing: at the start, and with each read as far as holes and deletes allow.

SQLite has no checksums: a change within a body cannot be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from roomcast.log.sqlite.queries import QUERIES, one_row
from roomcast.log.sqlite.state import LogState
from roomcast.model.message import Message

CHECKED_BYTES = 64 * 1024 * 1024
"""Up to this size a whole database is checked at the start: 12 ms of CPU for 6 MB, 0.2 s for this size. One of 1.4
GB would take 3 s, and much longer from a slow disk; the pages of a larger one are checked when they are read."""
CHECKED_MESSAGES = 20_000
"""How many of the newest messages are counted at the start if the database is larger."""

_CONTRADICTION = "its tables contradict each other"


def check_database(connection: apsw.Connection, *, whole: bool = False) -> None:
    """Raises `apsw.CorruptError` if something in the database of `connection` is damaged or missing. Checks as
    much as fits into a second; with `whole`, everything."""
    try:
        small = whole or _is_small(connection)
        if small:
            _check_pages(connection)
        _check_counts(connection, small)
    except (TypeError, ValueError) as error:  # a page of another table has rows of another shape
        raise apsw.CorruptError(_CONTRADICTION) from error


def check_complete(messages: Sequence[Message], trimmed: Mapping[str, int], after: int) -> None:
    """Raises `apsw.CorruptError` if these are not all messages after the seq `after`, judged by the `prev` of
    each. `trimmed`: how far each room with a `prev` outside these messages is trimmed."""
    seqs = {message.seq for message in messages}
    for message in messages:
        if message.prev > after and message.prev not in seqs and message.prev > trimmed.get(message.room, 0):
            raise apsw.CorruptError(f"messages before {message.seq} are missing")


def check_rooms_complete(
    messages: Sequence[Message], trimmed: Mapping[str, int], ends: Mapping[str, int], after: int
) -> None:
    """Raises `apsw.CorruptError` if these are not all messages of their rooms after the seq `after`, judged by the
    `prev` of each. `trimmed`: how far each room is trimmed. `ends`: for each room the last message that must be
    among them, if it is known."""
    last: dict[str, int] = {}
    for message in messages:
        previous = last.get(message.room)
        # The first one may follow a trimmed message.
        follows = (
            message.prev <= max(after, trimmed.get(message.room, 0))
            if previous is None
            else message.prev == previous
        )
        if not follows:
            raise apsw.CorruptError(f"messages before {message.seq} are missing")
        last[message.room] = message.seq
    for room, end in ends.items():
        if end > max(after, trimmed.get(room, 0)) and last.get(room) != end:
            raise apsw.CorruptError(f"message {end} is missing")


def _check_pages(connection: apsw.Connection) -> None:
    [found] = _row(connection, "check_pages")
    if found != "ok":
        raise apsw.CorruptError(str(found))


def _check_counts(connection: apsw.Connection, small: bool) -> None:
    """Compares the tables with each other, and counts the messages: all of a `small` database, the newest of a
    large one. In a large log with holes, and while deleted rooms have rows left, no count is known to compare
    with."""
    state = LogState(*_row(connection, "load_state"))
    first, last, _, _, messages, size, purges = _row(connection, "load_totals")
    [contradictions] = _row(connection, "count_contradictions")
    within = first is None or state.trimmed < first <= last <= state.newest
    if not within or (messages, size, contradictions) != (state.messages, state.bytes, 0):
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
    [small] = _row(connection, "is_small", {"bytes": CHECKED_BYTES})
    return bool(small)


def _row(connection: apsw.Connection, name: str, parameters: dict[str, Any] | None = None) -> Any:
    return one_row(connection, QUERIES[name], parameters)
