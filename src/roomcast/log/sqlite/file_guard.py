"""Refuses to write if the messages would be lost: the files must lie where they were opened, and must be whole."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from roomcast.log.sqlite.files import DatabaseFiles
from roomcast.model.errors import LogUnavailable

CHECK_SECONDS = 0.1
"""How often a busy writer checks its files. A check before each commit would wait for the interpreter's lock once
more for each file."""


class FileGuard:
    """Checks the files of one writer."""

    def __init__(self, files: DatabaseFiles) -> None:
        self._files = files
        self.check_at = 0.0
        """When the files are checked next, on the monotonic clock."""
        self.away = False
        """Whether a file was away at the last check."""

    def check(self) -> None:
        """Raises `LogUnavailable` if a message that is written now would be lost when this process ends."""
        self._refuse_truncated()
        if (now := monotonic()) >= self.check_at:
            missing = self._files.missing()
            self.away = bool(missing)
            if missing:
                raise LogUnavailable(
                    f"{missing} was moved, removed or replaced, or cannot be reached any more: put it back, or "
                    "start the server again."
                )
            with suppress(OSError):  # it was there a moment ago
                self._files.check()
            self._refuse_truncated()
            self.check_at = now + CHECK_SECONDS

    def check_commit(self) -> None:
        """Raises `LogUnavailable` if the last commit, or what came before it, is gone already."""
        self._files.check_commit()
        self._refuse_truncated()

    def _refuse_truncated(self) -> None:
        if self._files.truncated:
            raise LogUnavailable(
                f"{self._files.truncated} was emptied or cut short, and messages are gone with that: end the "
                "server, put a copy in the place of the log if there is one, and start with --new-epoch."
            )
