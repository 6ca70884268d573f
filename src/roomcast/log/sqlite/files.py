"""The files of an open database: whether they still lie where they were, and have what was written."""

from __future__ import annotations

import os
from contextlib import suppress

import apsw

from roomcast.log.sqlite.queries import QUERIES

_SUFFIXES = ("", "-wal", "-shm", ".lock")
"""Without its lock, a database may be another server's as well."""
_WAL_HEAD = 32
_FRAME_HEAD = 24
"""What stands before each page in the write-ahead log, and begins with its number, which is never 0
(https://sqlite.org/fileformat2.html#walformat)."""

_Inode = tuple[int, int]


class Files:
    """The database, what SQLite has beside it, and the lock. No other file can have their inodes while they
    are open."""

    def __init__(self, database: str, connection: apsw.Connection) -> None:
        """`database` is a real path, `connection` the writer's. Raises `OSError`."""
        self.database = database
        self._connection = connection
        self._inodes = {name: _inode(name) for name in (f"{database}{suffix}" for suffix in _SUFFIXES)}
        self._page = int(connection.pragma("page_size"))
        self.cut = ""
        """The name of one that was emptied or cut short; empty where there is none. It stays so: what was in it is
        gone."""
        # To be read while it is open elsewhere: SQLite has no locks on it, so closing it drops none.
        self._frames = os.open(f"{database}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._sizes = self._look_at_sizes()
        """Of the database and of its write-ahead log, when they were looked at last."""

    def close(self) -> None:
        os.close(self._frames)

    def missing(self) -> str:
        """The name of one that was moved, removed or replaced; empty where there is none."""
        return next((os.path.basename(n) for n, inode in self._inodes.items() if _inode(n) != inode), "")

    def look(self) -> None:
        """Finds out whether one was emptied or cut short. Raises `OSError` where one is missing."""
        before, self._sizes = self._sizes, self._look_at_sizes()
        size, wal_size = self._sizes
        if size < before[0] and size < self._least_size():
            self.cut = os.path.basename(self.database)
        elif (wal_size < before[1] and wal_size < self._least_wal_size()) or not self._has_frame(before[1]):
            self.cut = f"{os.path.basename(self.database)}-wal"

    def _look_at_sizes(self) -> tuple[int, int]:
        return os.stat(self.database).st_size, os.fstat(self._frames).st_size

    def _least_size(self) -> int:
        """What a database has that another program has made smaller: VACUUM does."""
        return self._page * int(self._connection.pragma("page_count"))

    def _least_wal_size(self) -> int:
        """It is made smaller when it was emptied into the database, by SQLite itself or by another program."""
        with suppress(apsw.Error):  # it looks at its index again
            list(self._connection.execute(QUERIES["load_state"]))
        frames, _ = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        return self._offset(frames) if frames else 0

    def _has_frame(self, size: int) -> bool:
        """Whether the last page that it had at that size is still one: where it was cut and has grown since, there
        is a hole."""
        frames = (min(size, self._sizes[1]) - _WAL_HEAD) // (_FRAME_HEAD + self._page)
        return frames < 1 or any(os.pread(self._frames, 4, self._offset(frames - 1)))

    def _offset(self, frames: int) -> int:
        return _WAL_HEAD + frames * (_FRAME_HEAD + self._page)


def _inode(name: str) -> _Inode | None:
    try:
        found = os.stat(name)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
