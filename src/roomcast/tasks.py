"""Ends tasks for good, and lets others have the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

_AGAIN_SECONDS = 1.0
"""Long enough for what a task has to close: that is not to be cancelled."""


_TURN_SECONDS = 0.001


class Turns:
    """Work on many things, in turns with all others of the loop. By time and not by number: what one of them takes
    differs by a factor of a thousand."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def next(self) -> None:
        """Between two of them: lets others have the loop where this turn took a millisecond already."""
        if time.perf_counter() - self._began >= _TURN_SECONDS:
            await asyncio.sleep(0)
            self._began = time.perf_counter()


async def cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels them until each has ended; what they raise is theirs.

    Once is not enough: `asyncio.wait_for` of Python 3.11, with which PyMongo sends, loses the cancel that comes in
    the turn in which it is done (python/cpython#86296), and a task that goes on for ever would.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)
