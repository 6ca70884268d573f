"""The queue of those who want to write at one time. What is stored does not depend on it; who waits does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from roomcast.log.mongodb import ticket_lock as mongodb_turns
from roomcast.log.mongodb.opening import Store
from roomcast.log.mongodb.ticket_lock import _ALONE, _COUNTER, TicketLock
from tests.log.acting import until
from tests.running import PATIENCE

New = Callable[[], TicketLock]


@pytest.fixture
async def process(url: str) -> AsyncIterator[New]:
    """Makes the turns of another process on the same database."""
    stores: list[Store] = []

    def new() -> TicketLock:
        stores.append(Store(url))
        return TicketLock(stores[-1])

    yield new
    for store in stores:
        await store.close()


async def queued(turns: TicketLock) -> bool:
    return turns._waiting


async def in_time(turns: TicketLock) -> int:
    async with asyncio.timeout(PATIENCE):
        return await turns.begin()


async def test_those_who_queue_write_in_the_order_in_which_they_asked(process: New) -> None:
    queue = [process() for _ in range(3)]
    order: list[int] = []

    async def write(number: int) -> None:
        await in_time(queue[number])
        order.append(number)
        await queue[number].end(0)

    for turns in queue:
        turns.ask()
    await in_time(queue[0])
    others = []
    for number in (1, 2):
        others.append(asyncio.create_task(write(number)))
        await until(partial(queued, queue[number]))
    assert order == []
    await queue[0].end(0)
    others.append(asyncio.create_task(write(0)))
    await asyncio.wait_for(asyncio.gather(*others), PATIENCE)
    assert order == [1, 2, 0]


async def test_who_dies_in_the_queue_is_passed_over(process: New) -> None:
    dead, living = process(), process()
    dead.ask()
    living.ask()
    await in_time(dead)
    await in_time(living)
    assert living._served


async def test_who_writes_alone_notices_soon_that_another_waits(process: New) -> None:
    alone, other = process(), process()
    other.ask()
    await in_time(other)
    for _ in range(_ALONE):
        assert not await in_time(alone)
        await alone.end(0)
    waiting = asyncio.create_task(in_time(alone))
    await until(partial(queued, alone))
    await other.end(7)
    assert await asyncio.wait_for(waiting, PATIENCE) == 7


async def test_who_is_alone_again_leaves_the_queue(process: New) -> None:
    turns = process()
    turns.ask()
    for _ in range(_ALONE):
        await in_time(turns)
        assert turns._served
        await turns.end(0)
    await in_time(turns)
    assert not turns._served


async def test_whose_turn_it_is_hears_how_far_others_have_written(process: New) -> None:
    turns, other = process(), process()
    turns.ask()
    other.ask()
    told = []
    for newest, one in enumerate((turns, turns, other, turns), 1):
        told.append(await in_time(one))
        await one.end(newest)
    assert told == [0, 0, 2, 3]


async def test_a_turn_lasts_for_as_long_again_as_its_first_write_took(
    process: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    turns = process()
    assert not turns.last()
    turns.ask()
    await in_time(turns)
    monkeypatch.setattr(mongodb_turns, "_time", lambda: now)
    turns._since = 0.0
    for took, lasts in ((0.05, True), (0.09, True), (0.11, False)):
        now = took
        assert turns.last() is lasts
    await turns.end(1)
    assert not turns.last()


async def test_a_number_that_was_lost_with_the_counter_is_taken_anew(process: New) -> None:
    first, second = process(), process()
    for turns in (first, second):
        turns.ask()
    for _ in range(20):
        await in_time(first)
        await first.end(0)
    await in_time(first)
    waiting = asyncio.create_task(in_time(second))
    await until(partial(queued, second))
    await first._beside.delete_one(_COUNTER)
    await asyncio.wait_for(waiting, PATIENCE)
