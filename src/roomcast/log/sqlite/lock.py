"""One server a database: the lock that a second one finds taken."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from roomcast.model.errors import LogUnusable


class Lock:
    """A lock on a file beside the database, held for life; the kernel drops it when the process ends.

    Not on the database itself: closing any descriptor of that file drops SQLite's own locks
    (https://sqlite.org/howtocorrupt.html, 2.2). The lock file stays when the lock goes: removing it would let
    a third server lock a file of the same name while a second one still waits on the old one.
    """

    def __init__(self, database: str, mode: int) -> None:
        """Takes the lock for the file `database`, a real path. A new lock file gets the permissions `mode`,
        whatever the umask: whoever may write the database may lock it. Raises `LogUnusable` where another process
        holds it, and `OSError` where the lock file cannot be made."""
        self._descriptor = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(database, mode)
        except BaseException:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        os.close(self._descriptor)

    def _take(self, database: str, mode: int) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LogUnusable(
                f"{database} belongs to another running server{self._owner()}: "
                "stop that one, or give this one another file."
            ) from None
        if not os.fstat(self._descriptor).st_size:  # nobody signed it: it is new
            with suppress(OSError):
                os.fchmod(self._descriptor, mode)
        self._sign()

    def _owner(self) -> str:
        pid = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
        return f" (process {pid})" if pid.isdigit() else ""

    def _sign(self) -> None:
        # Only a courtesy to whoever finds the lock taken: a full disk must not fail here.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
