"""The time at which a message is stored, from a clock that may be set back or may have been wrong."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from roomcast.model.message import rfc3339

clock = time.time_ns
"""Nanoseconds since 1970."""

BEHIND_MS = 60_000
"""A clock this many ms behind the newest message was set back, or was wrong when that message was stored."""

_log = logging.getLogger("roomcast.log")


def now_ms() -> int:
    """The machine's time in ms since 1970. It may be set back at any moment."""
    return clock() // 1_000_000


class Clock:
    """The clock of one log."""

    __slots__ = ("_warned",)

    def __init__(self) -> None:
        self._warned = False
        """Whether the present lag of the clock was logged. It is logged once, until the clock has caught up."""

    def now(self, at_least: int) -> int:
        """The time in ms since 1970, but never below `at_least`, the time of the newest retained message (0 if
        there is none). So times are in the order of ids, even when the clock is set back."""
        now = clock() // 1_000_000
        if now >= at_least:
            self._warned = False
            return now
        if at_least - now > BEHIND_MS and not self._warned:
            self._warn(at_least, now)
        return at_least

    def _warn(self, newest_at: int, now: int) -> None:
        self._warned = True
        _log.warning(
            "The clock says %s, and the newest message is from %s, %s later: new messages carry its time. If the "
            "clock is wrong now, set it; if it was wrong then, start the server once with --new-epoch.",
            rfc3339(now),
            rfc3339(newest_at),
            timedelta(seconds=(newest_at - now) // 1_000),
        )
