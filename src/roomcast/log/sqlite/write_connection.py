"""The one connection that writes. After a failed write, everything cached is read again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import apsw

from roomcast.log.sqlite.closing import close_database
from roomcast.log.sqlite.file_guard import FileGuard
from roomcast.log.sqlite.files import DatabaseFiles
from roomcast.log.sqlite.queries import QUERIES, one_row


class WriteConnection:
    """Runs the queries of `queries.sql` by their names, and checks the files around each write. Used by one thread
    at a time, never the event loop's. Every query may raise `apsw.Error`."""

    def __init__(self, connection: apsw.Connection, files: DatabaseFiles) -> None:
        self.connection = connection
        self._files = files
        self.guard = FileGuard(files)
        self.on_failure: list[Callable[[], None]] = []
        """Called when a job has failed: each empties a cache, which may differ from the database."""

    def run(self, name: str, parameters: dict[str, Any]) -> None:
        """Runs the query `name` with `parameters`, by their names in the SQL; its rows are not read."""
        self.connection.execute(QUERIES[name], parameters)

    def change(self, name: str, parameters: dict[str, Any]) -> int:
        """Runs the query `name` with `parameters`, and returns how many rows it changed."""
        self.run(name, parameters)
        return self.connection.changes()

    def row(self, name: str, parameters: dict[str, Any]) -> Any:
        """The one row of the query `name`, run with `parameters`."""
        return one_row(self.connection, QUERIES[name], parameters)

    def value(self, name: str, parameters: dict[str, Any]) -> Any:
        """The one value of the one row of the query `name`, run with `parameters`."""
        [value] = self.row(name, parameters)
        return value

    def write(self, name: str, parameters: dict[str, Any]) -> None:
        """Runs the query `name`, which stores something, with `parameters`. Raises `LogUnavailable` if the commit
        is not in the files."""
        self.run(name, parameters)
        self.guard.check_commit()

    def undo(self, error: Exception) -> None:
        """Undoes a job that failed with `error`: what the database refused does not stay in it, and nothing of the
        job stays in a cache."""
        for callback in self.on_failure:
            callback()
        # A busy database has written nothing. If the error is not SQLite's, SQLite has refused no write.
        if isinstance(error, apsw.Error) and not isinstance(error, apsw.BusyError):
            self._take_back()

    def close(self) -> None:
        """Empties the write-ahead log if possible, and closes the database."""
        close_database(self.connection, self._files)

    def _take_back(self) -> None:
        """If only the disk's confirmation failed (an error of fdatasync), the refused commit is complete in the
        write-ahead log, and the next start would find it there. So a commit that changes nothing replaces it,
        whether or not the disk confirms the new one."""
        with suppress(apsw.Error):
            self.connection.pragma("user_version", self.connection.pragma("user_version"))
