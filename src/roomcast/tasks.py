"""Ends tasks for good."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

_AGAIN_SECONDS = 1.0
"""Long enough for what a task has to close: that is not to be cancelled."""


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
