"""Closes the database at the end of the server."""

from __future__ import annotations

from contextlib import suppress

import apsw

from roomcast.log.sqlite.files import DatabaseFiles
from roomcast.log.sqlite.queries import QUERIES


def close_database(connection: apsw.Connection, files: DatabaseFiles) -> None:
    """Empties the write-ahead log if possible, notes the clean end, and closes `connection`, the writer's, and
    `files`. If the disk fails meanwhile, both are closed all the same."""
    with suppress(apsw.Error):
        _prepare(connection, files)
    connection.close()
    files.close()
    if files.truncated:
        _end_epoch(files.database)


def _prepare(connection: apsw.Connection, files: DatabaseFiles) -> None:
    if not files.truncated and not files.missing():
        with suppress(OSError):  # it was there a moment ago
            files.check()
    if files.truncated:
        # A checkpoint would copy frames that are no longer in the write-ahead log, and so damage the database.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        return
    # A lower `synchronous` may have left writes in the kernel. Only this puts all of them on the disk.
    connection.pragma("synchronous", "full")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    # If a file was replaced, this commit would later be read as part of the database that has the name now.
    if not files.missing():
        connection.execute(QUERIES["mark_clean"])


def _end_epoch(database: str) -> None:
    """Lets the next start begin a new epoch, as the ids of the lost messages must not be used again."""
    with suppress(apsw.Error):
        again = apsw.Connection(database, flags=apsw.SQLITE_OPEN_READWRITE)
        again.execute(QUERIES["end_epoch"])
        again.close()
