"""Opens a database for reading only, with or without a running server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import apsw

from roomcast.log.sqlite.opening import APPLICATION_ID, BUSY_MS, MIGRATIONS
from roomcast.log.sqlite.queries import QUERIES
from roomcast.model.errors import LogUnusable

_READ_ONLY = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


@contextmanager
def snapshot(path: str) -> Iterator[apsw.Connection]:
    """A connection to the database `path` in its present state: it does not see later writes of a server. Blocks.

    Raises `LogUnusable` if it is not a log of roomcast's, `apsw.Error` if it is damaged or cannot be read."""
    real = os.path.realpath(path)
    if not os.path.isfile(real):
        raise LogUnusable(f"there is no file {path}: name the log's database.")
    connection = _open(real)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.pragma("temp_store", "memory")
        connection.execute("BEGIN")
        _check_identity(connection, path)
        yield connection
    finally:
        connection.close()


def _open(real: str) -> apsw.Connection:
    """Opens the database read-only. Opens it as immutable if no server has it open and this user may not create
    files beside it."""
    connection = apsw.Connection(f"file:{quote(real)}", flags=_READ_ONLY)
    try:
        connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        connection.close()
        if os.path.exists(f"{real}-wal"):
            raise
        connection = apsw.Connection(f"file:{quote(real)}?immutable=1", flags=_READ_ONLY)
    return connection


def _check_identity(connection: apsw.Connection, path: str) -> None:
    [(application, version, _)] = connection.execute(QUERIES["load_identity"]).fetchall()
    if application != APPLICATION_ID:
        raise LogUnusable(f"{path} is not a log of roomcast's: name the log's database.")
    if version != len(MIGRATIONS):
        raise LogUnusable(
            f"{path} is of version {version}, and this roomcast reads version {len(MIGRATIONS)}: use the roomcast "
            "that wrote it, or start a server of this roomcast with it once, which migrates it."
        )
