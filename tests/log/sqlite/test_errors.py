"""SQLite's errors, and the system's, as sentences."""

from __future__ import annotations

import errno

import apsw
import pytest

from roomcast.log.sqlite.errors import unavailable, unusable


def io_error(code: int) -> apsw.IOError:
    error = apsw.IOError("disk I/O error")
    error.extendedresult = code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (io_error(apsw.SQLITE_IOERR_SHMSIZE), "There is no space left on the disk of log.db"),
        (io_error(apsw.SQLITE_IOERR_SHMMAP), "There is no space left on the disk of log.db"),
        (io_error(apsw.SQLITE_IOERR_READ), "The disk of log.db fails (disk I/O error)"),
        (OSError(errno.ENOSPC, "No space left"), "There is no space left on the disk of log.db"),
        (OSError(errno.EROFS, "Read-only"), "log.db cannot be written: give this user the right"),
        (OSError(errno.EMFILE, "Too many open files"), "log.db cannot be opened ([Errno 24] Too many open files)"),
        (apsw.BusyError("locked"), "log.db is in use by another program"),
        (apsw.CorruptError("row 1\nrow 2."), "log.db is damaged, or its disk cannot be read (row 1 row 2)"),
        (apsw.TooBigError("too big"), "log.db cannot be opened (too big): name another file"),
    ],
)
def test_a_database_that_cannot_be_opened_is_named_with_the_reason_in_one_line(
    error: apsw.Error | OSError, says: str
) -> None:
    detail = unusable("log.db", error).detail
    assert detail.startswith(says)
    assert "\n" not in detail


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (apsw.FullError("full"), "The log's disk is full"),
        (apsw.NotADBError("no database"), "The log's database is damaged"),
        (apsw.IOError("disk I/O error"), "The log's disk fails"),
        (apsw.TooBigError("too big"), "The log's database does not answer (too big)."),
    ],
)
def test_an_open_log_that_does_not_answer_says_why(error: apsw.Error, says: str) -> None:
    assert unavailable(error).detail.startswith(says)
