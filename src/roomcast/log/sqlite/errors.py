"""SQLite's errors as sentences for a person: what is wrong, and what to do."""

from __future__ import annotations

import errno

import apsw
import msgspec

from roomcast.model.errors import LogUnavailable, LogUnusable

_NO_RIGHT = "{file} cannot be written: give this user the right to write it and its directory."
_FULL = "There is no space left on the disk of {file}: make space, or name a file on another disk."
_DAMAGED = (
    "{file} is damaged, or its disk cannot be read ({error}): check the disk; if it is sound, put a copy in the "
    "place of the file and start with --new-epoch, or name another file."
)

_UNUSABLE: dict[type[apsw.Error], str] = {
    apsw.NotADBError: "{file} is not a database: name another file.",
    apsw.CorruptError: _DAMAGED,
    apsw.FullError: _FULL,
    apsw.ReadOnlyError: _NO_RIGHT,
    apsw.PermissionsError: _NO_RIGHT,
    apsw.AuthError: _NO_RIGHT,
    apsw.CantOpenError: "{file} cannot be opened ({error}): check the permissions of the file and its directory.",
    apsw.IOError: "The disk of {file} fails ({error}): check the disk, or name a file on another one.",
    apsw.BusyError: "{file} is in use by another program: close that one, and start again.",
}

# SQLite also reports a read error (EIO) as a damaged database, and that may pass.
_UNREADABLE = (
    "The log's database is damaged, or its disk cannot be read: if that does not pass, put a copy in its place "
    "and start with --new-epoch."
)

_UNAVAILABLE: dict[type[apsw.Error], str] = {
    apsw.FullError: "The log's disk is full: make space on it; publishing then goes on.",
    apsw.CorruptError: _UNREADABLE,
    apsw.NotADBError: _UNREADABLE,
    apsw.IOError: "The log's disk fails: check the disk; publishing goes on as soon as it works again.",
    apsw.BusyError: "Another program holds the log's database: end that program; publishing then goes on.",
}


def unusable(file: str, error: apsw.Error | OSError) -> LogUnusable:
    """The error for a database that cannot be opened. `file` is the path in its text; `error` is the cause."""
    said = " ".join(str(error).split()).rstrip(".")  # SQLite's integrity check returns lines
    return LogUnusable(_sentence(error).format(file=file, error=said))


FAILURES = (apsw.Error, msgspec.DecodeError, ValueError)
"""The errors of a job on a database that fails. The last two mean damage: SQLite read a page of another table."""


def unavailable(error: apsw.Error | msgspec.DecodeError | ValueError) -> LogUnavailable:
    """The error for an open log that does not answer because of `error`, one of `FAILURES`; its publishers and
    readers may try again."""
    if not isinstance(error, apsw.Error):
        return LogUnavailable(_UNREADABLE)
    return LogUnavailable(_UNAVAILABLE.get(type(error), f"The log's database does not answer ({error})."))


def _sentence(error: apsw.Error | OSError) -> str:
    if isinstance(error, OSError):
        return _BY_ERRNO.get(
            error.errno or 0, "{file} cannot be opened ({error}): correct that, or name another file."
        )
    if getattr(error, "extendedresult", 0) in _NO_SPACE:
        return _FULL
    return _UNUSABLE.get(type(error), "{file} cannot be opened ({error}): name another file.")


_NO_SPACE = (apsw.SQLITE_IOERR_SHMSIZE, apsw.SQLITE_IOERR_SHMMAP)
"""SQLite's codes if there is no space for its shared-memory file."""
_BY_ERRNO = {
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: _NO_RIGHT,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
}
