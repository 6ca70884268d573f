"""Tells whether a log's database can be read now, and if not, why. Logs when an outage begins and ends."""

from __future__ import annotations

import logging

from roomcast.model.errors import LogUnavailable, LogUnusable, RoomcastError

NOT_REACHED = "The database was not reached yet."
HISTORY_CHANGED = "The log is read anew, as its history has changed."

_UNTOLD = ("", NOT_REACHED, HISTORY_CHANGED)
"""Reasons of which `begin` has logged nothing."""

_log = logging.getLogger("roomcast.log")


class HistoryChanged(Exception):
    """The database has another history than the one that was delivered: another epoch, or lost messages."""


class Outage:
    """The present outage of a database, if there is one. True while there is one."""

    def __init__(self, why: str = "") -> None:
        self.why = why
        """A sentence for a person; empty while the database can be read."""

    def __bool__(self) -> bool:
        return bool(self.why)

    def check(self) -> None:
        """Raises `LogUnavailable` during an outage, a new one each time: the traceback of a shared exception would
        grow with every task that raises it."""
        if self.why:
            raise LogUnavailable(self.why)

    def begin(self, error: RoomcastError) -> None:
        """Notes that the database cannot be read, because of `error`. Warns once per outage, also at a start, and
        again if somebody must act."""
        # If waiting does not help, somebody must act, even if the database was already away for another reason.
        news = self.why in _UNTOLD or isinstance(error, LogUnusable)
        if news and self.why != error.detail:
            _log.warning(
                "the log is away, followers wait; once it answers, all goes on by itself: %s", error.detail
            )
        self.why = error.detail

    def begin_anew(self) -> None:
        """Notes that the history has changed: nothing can be read until the log has been read from its
        beginning."""
        self.why = HISTORY_CHANGED

    def end(self) -> None:
        """Notes that the database can be read."""
        if self.why and self.why != NOT_REACHED:
            _log.warning("the log is back: nothing is left to do")
        self.why = ""
