"""The files of an open database: whether they still lie where they were."""

from __future__ import annotations

import os

_SUFFIXES = ("", "-wal", "-shm", ".lock")
"""Without its lock, a database may be another server's as well."""

_Inode = tuple[int, int]


class Files:
    """The database, what SQLite has beside it, and the lock. No other file can have their inodes while they
    are open."""

    def __init__(self, database: str) -> None:
        """`database` is a real path."""
        self._inodes = {name: _inode(name) for name in (f"{database}{suffix}" for suffix in _SUFFIXES)}

    def missing(self) -> str:
        """The name of one that was moved, removed or replaced; empty where there is none."""
        return next((os.path.basename(n) for n, inode in self._inodes.items() if _inode(n) != inode), "")


def _inode(name: str) -> _Inode | None:
    try:
        found = os.stat(name)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
