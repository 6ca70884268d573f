"""Checks that the files of an open database are still in their places, and still have what was written."""

from __future__ import annotations

import os
from contextlib import suppress

import apsw

from roomcast.log.sqlite.queries import QUERIES

_SUFFIXES = ("", "-wal", "-shm", ".lock")
"""The lock file is among them: without it, another server may have opened the database, too."""
_WAL_HEAD, _WAL_SALT = 32, slice(16, 24)
_FRAME_HEAD, _FRAME_SALT = 24, slice(8, 16)
"""A frame is a page of the write-ahead log with its header. All frames have the salt of the log's header. When
SQLite restarts the log it chooses another salt (https://sqlite.org/fileformat2.html#walformat)."""
_READ_FRAMES = 64
"""How many frames are read at once."""

_Inode = tuple[int, int]


class DatabaseFiles:
    """The database, the files that SQLite has beside it, and the lock. While they are open, no other file can get
    their inodes."""

    def __init__(self, database: str, connection: apsw.Connection) -> None:
        """`database` is a real path, `connection` the writer's. Raises `OSError`."""
        self.database = database
        self._connection = connection
        self._inodes = {name: _inode(name) for name in (f"{database}{suffix}" for suffix in _SUFFIXES)}
        self._page_size = int(connection.pragma("page_size"))
        self.truncated = ""
        """The name of a file that was emptied or cut short; empty if there is none. Its content is gone for
        good."""
        # The write-ahead log may be opened beside SQLite: SQLite has no locks on it, so closing it drops none.
        self._wal = os.open(f"{database}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._frame_size = _FRAME_HEAD + self._page_size
        self._count = 0
        """How many frames the write-ahead log had at the last check."""
        self._last = b""
        """The last of these frames."""
        self._size = os.stat(database).st_size
        """The size of the database at the last check, in bytes."""
        self.check()

    def close(self) -> None:
        """Closes the write-ahead log, which is the only file held open here."""
        os.close(self._wal)

    def missing(self) -> str:
        """The name of a file that was moved, removed or replaced, or cannot be reached; empty if there is
        none."""
        return next((os.path.basename(n) for n, inode in self._inodes.items() if _inode(n) != inode), "")

    def check(self) -> None:
        """Finds out whether a file was emptied or cut short. Raises `OSError` if one cannot be reached, and
        `apsw.Error`."""
        before, self._size = self._size, os.stat(self.database).st_size
        if self._size < before and self._size < self._least_size():
            self.truncated = os.path.basename(self.database)
            return
        with suppress(apsw.Error):  # makes SQLite notice a checkpoint by another program
            list(self._connection.execute(QUERIES["load_state"]))
        self.check_commit()

    def check_commit(self) -> None:
        """Finds out, right after a commit, whether the write-ahead log has all that SQLite expects in it: the
        last frame from before, unchanged, and each frame that the commit added. If the file was cut in between,
        SQLite wrote past the cut and left a hole."""
        with suppress(OSError):  # a disk that cannot be read for a moment does not mean that anything is gone
            frames, _ = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            if frames > 0 and not self._continues(frames) and not self._restarted(frames):
                self.truncated = f"{os.path.basename(self.database)}-wal"

    def _least_size(self) -> int:
        """The size that SQLite expects, in bytes: another program may have made the database smaller with
        VACUUM."""
        return self._page_size * int(self._connection.pragma("page_count"))

    def _continues(self, frames: int) -> bool:
        if not 0 < self._count <= frames:
            return False
        before = self._count - 1
        first = self._read(before, min(frames, before + _READ_FRAMES))
        return first[: self._frame_size] == self._last and self._is_whole(first, before, frames)

    def _restarted(self, frames: int) -> bool:
        """Whether SQLite has restarted the log, which then has another salt. The earlier frames are in the
        database."""
        head = os.pread(self._wal, _WAL_HEAD, 0)
        first = self._read(0, min(frames, _READ_FRAMES))
        is_other = any(head[_WAL_SALT]) and head[_WAL_SALT] != self._last[_FRAME_SALT]
        return is_other and head[_WAL_SALT] == first[_FRAME_SALT] and self._is_whole(first, 0, frames)

    def _is_whole(self, data: bytes, at: int, frames: int) -> bool:
        """Whether all frames from `at` on have the same salt. `data`: the first of them. If so, the last frame is
        noted for the next check."""
        salt = data[_FRAME_SALT]
        while True:
            count = min(frames - at, _READ_FRAMES)
            if len(data) < count * self._frame_size:
                return False
            heads = range(0, count * self._frame_size, self._frame_size)
            if any(data[head + 8 : head + 16] != salt for head in heads):
                return False
            at += count
            if at == frames:
                self._count, self._last = frames, data[-self._frame_size :]
                return True
            data = self._read(at, min(frames, at + _READ_FRAMES))

    def _read(self, first: int, end: int) -> bytes:
        return os.pread(self._wal, (end - first) * self._frame_size, _WAL_HEAD + first * self._frame_size)


def _inode(name: str) -> _Inode | None:
    try:
        found = os.stat(name)
    except OSError:  # it is gone, or its directory is, or this user may not look it up any more
        return None
    return found.st_dev, found.st_ino
