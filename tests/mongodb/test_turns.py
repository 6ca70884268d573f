"""The queue of those who want to write at one time. What is stored does not depend on it; who waits does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from roomcast.log.mongodb_open import Store
from roomcast.log.mongodb_turns import _ALONE, Turns
from tests.log.acting import until
from tests.running import PATIENCE

New = Callable[[], Turns]


@pytest.fixture
async def process(url: str) -> AsyncIterator[New]:
    """Makes the turns of another process on the same database."""
    stores: list[Store] = []

    def new() -> Turns:
        stores.append(Store(url))
        return Turns(stores[-1])

    yield new
    for store in stores:
        await store.close()


async def queued(turns: Turns) -> bool:
    return turns._waiting


async def in_time(turns: Turns) -> bool:
    async with asyncio.timeout(PATIENCE):
        return await turns.begin()


async def test_those_who_queue_write_in_the_order_in_which_they_asked(process: New) -> None:
    queue = [process() for _ in range(3)]
    order: list[int] = []

    async def write(number: int) -> None:
        await in_time(queue[number])
        order.append(number)
        await queue[number].end()

    for turns in queue:
        turns.ask()
    await in_time(queue[0])
    others = []
    for number in (1, 2):
        others.append(asyncio.create_task(write(number)))
        await until(partial(queued, queue[number]))
    assert order == []
    await queue[0].end()
    others.append(asyncio.create_task(write(0)))
    await asyncio.wait_for(asyncio.gather(*others), PATIENCE)
    assert order == [1, 2, 0]


async def test_who_dies_in_the_queue_is_passed_over(process: New) -> None:
    dead, living = process(), process()
    dead.ask()
    living.ask()
    await in_time(dead)
    assert await in_time(living)


async def test_who_writes_alone_notices_soon_that_another_waits(process: New) -> None:
    alone, other = process(), process()
    other.ask()
    await in_time(other)
    for _ in range(_ALONE):
        assert not await in_time(alone)
        await alone.end()
    waiting = asyncio.create_task(in_time(alone))
    await until(partial(queued, alone))
    await other.end()
    assert await asyncio.wait_for(waiting, PATIENCE)


async def test_who_is_alone_again_leaves_the_queue(process: New) -> None:
    turns = process()
    turns.ask()
    for _ in range(_ALONE):
        await in_time(turns)
        assert turns._served
        await turns.end()
    await in_time(turns)
    assert not turns._served


async def test_who_was_alone_in_the_queue_has_nothing_to_read(process: New) -> None:
    turns, other = process(), process()
    turns.ask()
    other.ask()
    told = []
    for one in (turns, turns, other, turns):
        told.append(await in_time(one))
        await one.end()
    assert told == [False, False, True, True]
