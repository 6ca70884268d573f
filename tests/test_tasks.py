"""`tasks.cancel` cancels a task again that swallows its cancellation."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from roomcast import tasks
from tests.running import PATIENCE


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    swallowed = 0

    async def follow() -> None:
        nonlocal swallowed
        while swallowed < 2:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3_600)
            swallowed += 1
        await asyncio.sleep(3_600)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await tasks.cancel([following])
    assert (following.cancelled(), swallowed) == (True, 2)


async def test_finished_tasks_are_not_awaited_and_their_errors_are_not_raised() -> None:
    async def fail() -> None:
        raise RuntimeError

    failed = asyncio.create_task(fail())
    await asyncio.wait([failed])
    await tasks.cancel([failed])
    await tasks.cancel([])
    assert isinstance(failed.exception(), RuntimeError)
