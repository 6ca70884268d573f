"""Ends tasks for good, and shares the loop during long work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

_AGAIN_SECONDS = 1.0
"""Pause between two cancels of a task: long enough to close its resources, which a cancel would interrupt."""
_TURN_SECONDS = 0.001


class Turns:
    """Work on many things, in turns with all other tasks of the loop. A turn is limited by time, not by number:
    the times of two things differ by up to a factor of a thousand."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def next(self) -> None:
        """Call it between two things: lets other tasks run if this turn has taken a millisecond."""
        if time.perf_counter() - self._began >= _TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = time.perf_counter()


async def cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels the tasks until each has ended. Ignores what they raise.

    One cancel is not enough: `asyncio.wait_for` of Python 3.11, with which PyMongo sends, loses a cancel that
    comes in the turn in which it is done (python/cpython#86296). A task that runs for ever would then go on.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
