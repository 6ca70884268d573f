"""Opens the database: takes it over, or says in one sentence what stands in the way."""

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
from roomcast.log.sqlite.files import Files
from roomcast.log.sqlite.lock import Lock
from roomcast.log.sqlite.queries import QUERIES, SCHEMAS
from roomcast.log.sqlite.state import Holes, State
from roomcast.log.sqlite.times import begin_times
from roomcast.log.sqlite.whole import check_database
from roomcast.model.errors import LogUnusable
from roomcast.model.message import new_epoch as fresh_epoch
from roomcast.model.message import rfc3339
from roomcast.model.revocation import Revocation
from roomcast.model.settings import SYNCHRONOUS

APPLICATION_ID = int.from_bytes(b"room", "big")
"""What SQLite's header says of whose file it is (https://sqlite.org/pragma.html#pragma_application_id)."""
MIGRATIONS: Sequence[str] = SCHEMAS
"""Script n brings a database of version n to version n + 1."""
BUSY_MS = 5_000
"""How long to wait for someone who looks into the file with a tool of their own and holds a lock."""
CHECKPOINT_PAGES = 4_000
"""16 MiB of write-ahead log between two checkpoints. A publish meets one in 1,000 rather than in 250."""
WAL_BYTES = 2 * CHECKPOINT_PAGES * 4096
"""What is left of it where it was larger: a tool that reads for long keeps it from being emptied, and it grows."""
NEW_FILE_MODE = 0o600
"""Messages are for those whom the server gives them to, and not for every user of the machine."""


_log = logging.getLogger("roomcast.log")


class Opened(NamedTuple):
    """A database that is ours now."""

    writer: apsw.Connection
    reader: apsw.Connection
    lock: Lock
    files: Files
    epoch: str
    state: State
    clock: Clock
    holes: Holes
    revoked: Sequence[Revocation]


def open_database(path: str, *, new_epoch: bool, synchronous: str) -> Opened:
    """Opens `path`, and makes it where there is nothing. Blocks. Raises `LogUnusable`."""
    real = os.path.realpath(path)
    _check_path(real)
    _check_synchronous(synchronous)
    with ExitStack() as undo:
        try:
            lock = Lock(real, _mode(real))
            undo.callback(lock.release)
            _make(real)
            writer = apsw.Connection(real)
            undo.callback(writer.close)
            epoch, state = _take_over(writer, real, anew=new_epoch, synchronous=synchronous)
            deleted, purging, keyed = _row(writer, "load_holes")
            holes = Holes(deleted=bool(deleted), purging=bool(purging), keyed=bool(keyed))
            rows = writer.execute(QUERIES["load_revoked"])
            revoked = [Revocation(sub, iss or None, before) for sub, iss, before in rows]
            clock = Clock()
            clock.now(state.retained_at)  # which says so where it is behind
            reader = apsw.Connection(real, flags=apsw.SQLITE_OPEN_READONLY)
            undo.callback(reader.close)
            _prepare(reader)
            files = Files(real, writer)
        except (apsw.Error, OSError) as error:
            raise unusable(real, error) from error
        undo.pop_all()
    return Opened(writer, reader, lock, files, epoch, state, clock, holes, revoked)


def _check_path(real: str) -> None:
    if os.path.isdir(real):
        raise LogUnusable(f"{real} is a directory: name a file in it, such as {real}/roomcast.db.")
    directory = os.path.dirname(real)
    if not os.path.isdir(directory):
        raise LogUnusable(f"The directory {directory} does not exist: make it, or name another file.")


def _mode(real: str) -> int:
    """The permissions of the database, which the files beside it share: SQLite copies them to -wal and -shm."""
    return stat.S_IMODE(os.stat(real).st_mode) & 0o666 if os.path.exists(real) else NEW_FILE_MODE


def _make(real: str) -> None:
    """Makes the file where there is none: SQLite would let everybody read it. Opened outside SQLite only while it
    is new, since closing it drops the locks that SQLite has on it."""
    with suppress(FileExistsError):
        os.close(os.open(real, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, NEW_FILE_MODE))


def _check_synchronous(synchronous: str) -> None:
    if synchronous not in SYNCHRONOUS:
        raise LogUnusable(f"{synchronous!r} is no way to wait for the disk: use {', '.join(SYNCHRONOUS)}.")


def _take_over(connection: apsw.Connection, real: str, *, anew: bool, synchronous: str) -> tuple[str, State]:
    """The epoch of the life that begins here, and the log as it is."""
    if connection.readonly("main"):
        raise LogUnusable(f"{real} cannot be written: give this user the right to write it.")
    _prepare(connection)
    version = _version(connection, real)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.wal_autocheckpoint(CHECKPOINT_PAGES)
    connection.pragma("journal_size_limit", WAL_BYTES)
    _migrate(connection, version)
    connection.execute(QUERIES["make_rooms_newest"])
    check_database(connection)
    with connection:
        if anew:
            _take_back_times(connection)
        epoch = _begin_life(connection, anew=anew, synchronous=synchronous)
    state = State(*_row(connection, "load_state"))
    connection.pragma("synchronous", synchronous)
    for name in ("step", "plain", "cutting", "forget", "deletion", "room_deletion"):
        connection.execute(QUERIES[f"make_{name}"])
    return epoch, state


def _prepare(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(BUSY_MS)
    # A sort in a temporary file would fail on a full disk, where reading must still work.
    connection.pragma("temp_store", "memory")


def _version(connection: apsw.Connection, real: str) -> int:
    """The version of the database; 0 where there is nothing in it yet."""
    application, version, things = _row(connection, "load_identity")
    if (application, version, things) == (0, 0, 0):
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
    """Each step with its version number in one transaction: a crash leaves a database of some version."""
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.execute(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {number}; COMMIT"
        )


def _take_back_times(connection: apsw.Connection) -> None:
    """A new epoch is also for a log whose clock was ahead once: else messages would carry that time for ever."""
    now = Clock().now(0)
    if count := begin_times(connection, now):
        _log.warning(
            "%d messages were from the future: they are from %s now, nothing is left to do.", count, rfc3339(now)
        )


def _begin_life(connection: apsw.Connection, *, anew: bool, synchronous: str) -> str:
    """A log that may have lost its end must not use the ids of that end again."""
    epoch, last_synchronous, clean = _row(connection, "load_life")
    if anew or not epoch or (last_synchronous != "full" and not clean):
        epoch = fresh_epoch()
    connection.execute(QUERIES["begin_life"], {"epoch": epoch, "synchronous": synchronous})
    return str(epoch)


def _row(connection: apsw.Connection, name: str) -> Any:
    [row] = list(connection.execute(QUERIES[name]))
    return row
