"""Checks all of a database without a server: pages, counts, and each message with the one before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import apsw
import msgspec

from roomcast.log.sqlite.looking import one_moment
from roomcast.log.sqlite.queries import QUERIES
from roomcast.log.sqlite.whole import check_database

_TOLD_STEPS = 100_000
"""Steps of SQLite's virtual machine between two progress reports; checking pages has no other progress count."""
_STEP = 5_000
"""Messages that are read at once."""

_Row = tuple[int, str, int, bytes]
Tell = Callable[[int], None]
"""Called with the number of messages checked."""


class Examined(NamedTuple):
    """A log that is sound."""

    messages: int
    rooms: int
    newest: int
    """The number of its newest message."""


def examine(path: str, tell: Tell) -> Examined:
    """Checks all of the database `path`. Blocks.

    Raises `LogUnusable` if it cannot be checked, and `apsw.Error`: `CorruptError` says what is damaged."""
    with one_moment(path) as connection:
        connection.set_progress_handler(lambda: _go_on(tell), _TOLD_STEPS)
        check_database(connection, whole=True)
        connection.set_progress_handler(None)
        return _walk(connection, tell)


def _go_on(tell: Tell) -> bool:
    """SQLite's progress handler: returns whether to give up."""
    tell(0)
    return False


def _walk(connection: apsw.Connection, tell: Tell) -> Examined:
    trimmed = dict(cast(list[tuple[str, int]], connection.execute("SELECT room, trimmed FROM rooms").fetchall()))
    last: dict[str, int] = {}
    count = seq = 0
    while rows := connection.execute(QUERIES["examine"], {"after": seq, "limit": _STEP}).fetchall():
        for seq, room, prev, body in cast(list[_Row], rows):
            _check_message(seq, room, prev, body, last.get(room), trimmed.get(room, 0))
            last[room] = seq
        count += len(rows)
        tell(count)
    return Examined(count, len(last), seq)


def _check_message(seq: int, room: str, prev: int, body: bytes, before: int | None, trimmed: int) -> None:
    """`before`: the message of its room that was met before it. Raises `apsw.CorruptError`."""
    follows = prev == before if before is not None else prev <= max(trimmed, 0)
    if not follows or prev >= seq:
        raise apsw.CorruptError(f"messages of {room!r} before {seq} are missing")
    if body:  # one that was deleted has none
        try:
            msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except msgspec.DecodeError as error:
            raise apsw.CorruptError(f"message {seq} is no JSON ({error})") from error
