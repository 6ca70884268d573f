"""Copies the log's database as of one moment, while a server writes it.

SQLite's own backup would restart with each commit of the server, and never end on a busy server. So everything is
read in one transaction. Meanwhile the write-ahead log cannot be emptied, and grows with each publish.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import apsw

from roomcast.log.sqlite.opening import NEW_FILE_MODE
from roomcast.log.sqlite.queries import QUERIES
from roomcast.log.sqlite.snapshot import snapshot
from roomcast.model.errors import LogUnusable

_STEP_PAGES = 1_000
"""Pages per step, 4 MB. The server gets the disk between two steps."""

Progress = Callable[[int, int], None]
"""Called with the number of bytes copied, and the total."""


def back_up(path: str, copy: str, progress: Progress) -> int:
    """Copies the database `path` to the new file `copy`, which appears only when it is complete and on the disk.
    Returns its size in bytes. Blocks; calls `progress` after each 4 MB.

    A server that starts with the copy begins a new epoch, so that ids published since the copy are not used again.
    Raises `LogUnusable` if `copy` exists or `path` does not, `apsw.Error` and `OSError`."""
    if os.path.lexists(copy):
        raise LogUnusable(f"{copy} is there already: name a new file.")
    part = f"{copy}.part"
    with suppress(FileNotFoundError):  # left by a backup that was interrupted
        os.unlink(part)
    try:
        with snapshot(path) as source:
            _copy(source, part, progress)
        _sync(part)
        os.link(part, copy)  # unlike a rename, it never replaces a file
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
    _sync(os.path.dirname(os.path.abspath(copy)))
    return os.stat(copy).st_size


def _copy(source: apsw.Connection, part: str, progress: Progress) -> None:
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, NEW_FILE_MODE))
    target = apsw.Connection(part, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        page = int(source.pragma("page_size"))
        with target.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(_STEP_PAGES)
                progress((backup.page_count - backup.remaining) * page, backup.page_count * page)
        target.pragma("journal_mode", "delete")  # so that the copy is a single file
        target.execute(QUERIES["end_epoch"])
    finally:
        target.close()


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
