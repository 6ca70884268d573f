"""Tasks that do not end when they are told to once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from roomcast import tasks
from tests.running import PATIENCE


async def test_a_task_that_loses_its_cancel_is_cancelled_again() -> None:
    lost = 0

    async def follow() -> None:
        nonlocal lost
        while lost < 2:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3_600)
            lost += 1
        await asyncio.sleep(3_600)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await tasks.cancel([following])
    assert (following.cancelled(), lost) == (True, 2)


async def test_what_has_ended_is_not_waited_for_and_what_it_raised_is_not_raised() -> None:
    async def fail() -> None:
        raise RuntimeError

    failed = asyncio.create_task(fail())
    await asyncio.wait([failed])
    await tasks.cancel([failed])
    await tasks.cancel([])
    assert isinstance(failed.exception(), RuntimeError)
