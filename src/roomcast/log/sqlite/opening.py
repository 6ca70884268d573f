"""Opens the database, or says in one sentence why it cannot be opened."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import apsw

from roomcast.log.clock import Clock
from roomcast.log.sqlite.errors import unusable
from roomcast.log.sqlite.files import DatabaseFiles
from roomcast.log.sqlite.future_times import clamp_times
from roomcast.log.sqlite.integrity import check_database
from roomcast.log.sqlite.lock import DatabaseLock
from roomcast.log.sqlite.queries import QUERIES, SCHEMAS, one_row
from roomcast.log.sqlite.state import ContentFlags, LogState
from roomcast.model.errors import LogUnusable
from roomcast.model.message import new_epoch as fresh_epoch
from roomcast.model.message import rfc3339
from roomcast.model.revocation import Revocation
from roomcast.model.settings import SYNCHRONOUS

APPLICATION_ID = int.from_bytes(b"room", "big")
"""Marks the file as roomcast's in SQLite's header (https://sqlite.org/pragma.html#pragma_application_id)."""
MIGRATIONS: Sequence[str] = SCHEMAS
"""The script with index n migrates a database from version n to version n + 1."""
BUSY_MS = 5_000
"""How long to wait for another program that has opened the file and holds a lock, in ms."""
CHECKPOINT_PAGES = 4_000
"""16 MB of write-ahead log between checkpoints. One publish in 1,000 waits for a checkpoint; with SQLite's
default, 4 MB, it would be one in 250."""
WAL_BYTES = 2 * CHECKPOINT_PAGES * 4096
"""A larger write-ahead log is cut to this size: it grows while another program reads for long."""
NEW_FILE_MODE = 0o600
"""Only the owner may read a new file: other users of the machine must not read all messages."""

_log = logging.getLogger("roomcast.log")


class Opened(NamedTuple):
    """An open database with its lock."""

    writer: apsw.Connection
    reader: apsw.Connection
    lock: DatabaseLock
    files: DatabaseFiles
    epoch: str
    state: LogState
    clock: Clock
    flags: ContentFlags
    revoked: Sequence[Revocation]


def open_database(path: str, *, new_epoch: bool, synchronous: str) -> Opened:
    """Opens the database `path`, or creates it. Blocks.

    `new_epoch`: begin a new epoch. `synchronous` (full, normal or off): how SQLite waits for the disk. Raises
    `LogUnusable` if the file is unusable; then nothing stays open or locked."""
    real = os.path.realpath(path)
    _check_path(real)
    _check_synchronous(synchronous)
    with ExitStack() as undo:
        try:
            lock = DatabaseLock(real, _mode(real))
            undo.callback(lock.release)
            _make(real)
            writer = apsw.Connection(real)
            undo.callback(writer.close)
            epoch, state = _prepare_writer(writer, real, new_epoch=new_epoch, synchronous=synchronous)
            deleted, purging, keyed = _row(writer, "load_flags")
            flags = ContentFlags(deleted=bool(deleted), purging=bool(purging), keyed=bool(keyed))
            rows = writer.execute(QUERIES["load_revoked"])
            revoked = [Revocation(sub, iss or None, before) for sub, iss, before in rows]
            clock = Clock()
            clock.now(state.retained_at)  # logs a warning if the clock is behind
            reader = apsw.Connection(real, flags=apsw.SQLITE_OPEN_READONLY)
            undo.callback(reader.close)
            _configure(reader)
            files = DatabaseFiles(real, writer)
        except (apsw.Error, OSError) as error:
            raise unusable(real, error) from error
        undo.pop_all()
    return Opened(writer, reader, lock, files, epoch, state, clock, flags, revoked)


def _check_path(real: str) -> None:
    if os.path.isdir(real):
        raise LogUnusable(f"{real} is a directory: name a file in it, such as {real}/roomcast.db.")
    directory = os.path.dirname(real)
    if not os.path.isdir(directory):
        raise LogUnusable(f"The directory {directory} does not exist: make it, or name another file.")


def _mode(real: str) -> int:
    """The permissions of the database. The files beside it get the same: SQLite copies them to -wal and -shm."""
    return stat.S_IMODE(os.stat(real).st_mode) & 0o666 if os.path.exists(real) else NEW_FILE_MODE


def _make(real: str) -> None:
    """Creates the file if there is none: SQLite would create it readable for every user. An existing file is never
    opened outside SQLite: closing it would drop the locks that SQLite has on it."""
    with suppress(FileExistsError):
        os.close(os.open(real, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, NEW_FILE_MODE))


def _check_synchronous(synchronous: str) -> None:
    if synchronous not in SYNCHRONOUS:
        raise LogUnusable(f"{synchronous!r} is no value of synchronous: use one of {', '.join(SYNCHRONOUS)}.")


def _prepare_writer(
    connection: apsw.Connection, real: str, *, new_epoch: bool, synchronous: str
) -> tuple[str, LogState]:
    """Prepares the database for this server. Returns the epoch from now on, and the log's state."""
    if connection.readonly("main"):
        raise LogUnusable(f"{real} cannot be written: give this user the right to write it.")
    _configure(connection)
    version = _version(connection, real)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.wal_autocheckpoint(CHECKPOINT_PAGES)
    connection.pragma("journal_size_limit", WAL_BYTES)
    _migrate(connection, version)
    connection.execute(QUERIES["make_rooms_newest"])
    check_database(connection)
    with connection:
        if new_epoch:
            _repair_times(connection)
        epoch = _begin_run(connection, new_epoch=new_epoch, synchronous=synchronous)
    state = LogState(*_row(connection, "load_state"))
    connection.pragma("synchronous", synchronous)
    for name in ("step", "plain", "cutting", "plain_cutting", "forget_rooms", "deletion", "room_deletion"):
        connection.execute(QUERIES[f"make_{name}"])
    return epoch, state


def _configure(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(BUSY_MS)
    # A sort in a temporary file would fail on a full disk, but reading must still work then.
    connection.pragma("temp_store", "memory")


def _version(connection: apsw.Connection, real: str) -> int:
    """The version of the database; 0 if it is empty. Raises `LogUnusable` if this roomcast cannot use it."""
    application, version, tables = _row(connection, "load_identity")
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID:
        raise LogUnusable(f"{real} is the SQLite database of another program: name another file.")
    if version > len(MIGRATIONS):
        raise LogUnusable(
            f"{real} is of version {version}, and this roomcast knows versions up to {len(MIGRATIONS)}: "
            "start a newer roomcast, or name another file."
        )
    return int(version)


def _migrate(connection: apsw.Connection, version: int) -> None:
    """Migrates step by step, each with its version number in one transaction: a crash leaves a valid version."""
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.execute(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {number}; COMMIT"
        )


def _repair_times(connection: apsw.Connection) -> None:
    """Repairs a log whose clock was once ahead: otherwise all later messages would carry the time of that clock.
    This is done only for a new epoch that was requested."""
    now = Clock().now(0)
    if count := clamp_times(connection, now):
        _log.warning(
            "%d messages were from the future: they are from %s now, nothing is left to do.", count, rfc3339(now)
        )


def _begin_run(connection: apsw.Connection, *, new_epoch: bool, synchronous: str) -> str:
    """Notes that this server has opened the log. Returns the epoch from now on: a new one if `new_epoch` is set,
    or if the log may have lost its end, as the ids of that end must not be used again."""
    epoch, last_synchronous, clean = _row(connection, "load_last_run")
    if new_epoch or not epoch or (last_synchronous != "full" and not clean):
        epoch = fresh_epoch()
    connection.execute(QUERIES["mark_open"], {"epoch": epoch, "synchronous": synchronous})
    return str(epoch)


def _row(connection: apsw.Connection, name: str) -> Any:
    return one_row(connection, QUERIES[name])
