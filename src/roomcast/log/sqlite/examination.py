"""Checks a whole database without a server: pages, counts, and each message with the one before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import apsw
import msgspec

from roomcast.log.sqlite.integrity import check_database
from roomcast.log.sqlite.queries import QUERIES
from roomcast.log.sqlite.snapshot import snapshot

_PROGRESS_STEPS = 100_000
"""Steps of SQLite's virtual machine between two progress reports; checking pages has no other progress count."""
_READ_MESSAGES = 5_000
"""How many messages are read at once."""

_Row = tuple[int, str, int, bytes]
Progress = Callable[[int], None]
"""Called with the number of messages checked; the rows of deleted ones are among them."""


class Examined(NamedTuple):
    """The content of a sound log."""

    messages: int
    """How many are retained, without deleted ones."""
    rooms: int
    newest: int
    """The seq of its newest message."""


def examine(path: str, progress: Progress) -> Examined:
    """Checks all of the database `path`. Blocks; calls `progress` many times a second, with 0 until the pages are
    checked.

    Raises `LogUnusable` if it cannot be checked, and `apsw.Error`: `CorruptError` says what is damaged."""
    with snapshot(path) as connection:
        connection.set_progress_handler(lambda: _report(progress), _PROGRESS_STEPS)
        check_database(connection, whole=True)
        connection.set_progress_handler(None)
        return _walk(connection, progress)


def _report(progress: Progress) -> bool:
    """SQLite's progress handler. Returns whether to give up."""
    progress(0)
    return False


def _walk(connection: apsw.Connection, progress: Progress) -> Examined:
    trimmed = dict(cast(list[tuple[str, int]], connection.execute("SELECT room, trimmed FROM rooms").fetchall()))
    last: dict[str, int] = {}
    count = seq = 0
    while rows := connection.execute(QUERIES["examine"], {"after": seq, "limit": _READ_MESSAGES}).fetchall():
        for seq, room, prev, body in cast(list[_Row], rows):
            _check_message(seq, room, prev, body, last.get(room), trimmed.get(room, 0))
            last[room] = seq
        count += len(rows)
        progress(count)
    [(messages, rooms)] = connection.execute(QUERIES["count_retained"]).fetchall()
    return Examined(cast(int, messages), cast(int, rooms), seq)


def _check_message(seq: int, room: str, prev: int, body: bytes, previous: int | None, trimmed: int) -> None:
    """Raises `apsw.CorruptError` if a message of the room is missing before this one, or if this one is no JSON.
    `previous`: the seq of the room's message before it, if there was one. `trimmed`: how far the room is
    trimmed."""
    follows = prev == previous if previous is not None else prev <= trimmed
    if not follows or prev >= seq:
        raise apsw.CorruptError(f"messages of {room!r} before {seq} are missing")
    if body:  # a deleted message has none
        try:
            msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except msgspec.DecodeError as error:
            raise apsw.CorruptError(f"message {seq} is not JSON ({error})") from error
