"""Closes the database at the end of the server."""

from __future__ import annotations

from contextlib import suppress

import apsw

from roomcast.log.sqlite.files import DatabaseFiles
from roomcast.log.sqlite.queries import QUERIES


def close_database(connection: apsw.Connection, files: DatabaseFiles) -> None:
    """Empties the write-ahead log if possible, notes the clean end, and closes `connection`, the writer's, and
    `files`. If the disk fails meanwhile, both are closed all the same."""
    if not files.truncated and not files.missing():
        with suppress(FileNotFoundError):
            files.check()
    if files.truncated:
        _abandon(connection, files)
        return
    with suppress(apsw.Error):
        # A lower `synchronous` may have left writes in the kernel. Only this puts all of them on the disk.
        connection.pragma("synchronous", "full")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        # If a file was replaced, this commit would later be read as part of the database that has the name now.
        if not files.missing():
            connection.execute(QUERIES["mark_clean"])
    connection.close()
    files.close()


def _abandon(connection: apsw.Connection, files: DatabaseFiles) -> None:
    """Closes without a checkpoint: it would copy frames that are no longer in the write-ahead log, and so damage
    the database. The next start begins a new epoch, as the ids of the lost messages must not be used again."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()
    files.close()
    with suppress(apsw.Error):
        again = apsw.Connection(files.database, flags=apsw.SQLITE_OPEN_READWRITE)
        again.execute(QUERIES["end_epoch"])
        again.close()
