"""The lock that keeps a second server from opening the same database."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from roomcast.model.errors import LogUnusable


class DatabaseLock:
    """A lock on a file beside the database, held while the log is open; the kernel drops it when the process ends.

    The database itself is not locked like this: closing any descriptor of that file would drop SQLite's own locks
    (https://sqlite.org/howtocorrupt.html, 2.2). The lock file is never removed: otherwise a second server
    could lock the removed file, opened just before, and a third server a new file of that name.
    """

    def __init__(self, database: str, mode: int) -> None:
        """Takes the lock for the file `database`, a real path. A new lock file gets the permissions `mode`,
        whatever the umask is: every user who may write the database may lock it. Raises `LogUnusable` if another
        process holds the lock, and `OSError` if the lock file cannot be made."""
        self._descriptor = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(database, mode)
        except BaseException:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Gives the lock up, once the database is closed: from then on another server may open it."""
        os.close(self._descriptor)

    def _take(self, database: str, mode: int) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LogUnusable(
                f"{database} belongs to another running server{self._owner()}: "
                "stop that one, or give this one another file."
            ) from None
        if not os.fstat(self._descriptor).st_size:  # it has no process id yet: it is new
            with suppress(OSError):
                os.fchmod(self._descriptor, mode)
        self._write_process_id()

    def _owner(self) -> str:
        pid = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
        return f" (process {pid})" if pid.isdigit() else ""

    def _write_process_id(self) -> None:
        # The id is only for the error text of a second server: a full disk must not make this step fail.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
