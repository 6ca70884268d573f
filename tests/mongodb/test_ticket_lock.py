"""The ticket lock: it decides which process waits, but never what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest
from pymongo.errors import DuplicateKeyError

from roomcast.log.mongodb import ticket_lock
from roomcast.log.mongodb.opening import Store
from roomcast.log.mongodb.ticket_lock import _ALONE, _COUNTER, TicketLock
from tests.log.steps import until
from tests.running import PATIENCE

New = Callable[[], TicketLock]


@pytest.fixture
async def process(url: str) -> AsyncIterator[New]:
    """A function that makes the lock of another process on the same database."""
    stores: list[Store] = []

    def new() -> TicketLock:
        stores.append(Store(url))
        return TicketLock(stores[-1])

    yield new
    for store in stores:
        await store.close()


async def queued(lock: TicketLock) -> bool:
    return lock._waiting


async def in_time(lock: TicketLock) -> int:
    async with asyncio.timeout(PATIENCE):
        return await lock.acquire()


async def test_processes_write_in_the_order_of_their_tickets(process: New) -> None:
    queue = [process() for _ in range(3)]
    order: list[int] = []

    async def write(number: int) -> None:
        await in_time(queue[number])
        order.append(number)
        await queue[number].release(0)

    for lock in queue:
        lock.start_queueing()
    await in_time(queue[0])
    others = []
    for number in (1, 2):
        others.append(asyncio.create_task(write(number)))
        await until(partial(queued, queue[number]))
    assert order == []
    await queue[0].release(0)
    others.append(asyncio.create_task(write(0)))
    await asyncio.wait_for(asyncio.gather(*others), PATIENCE)
    assert order == [1, 2, 0]


async def test_the_ticket_of_a_dead_process_is_skipped(process: New) -> None:
    dead, living = process(), process()
    dead.start_queueing()
    living.start_queueing()
    await in_time(dead)
    await in_time(living)
    assert living._held


async def test_a_process_that_writes_alone_soon_notices_that_another_waits(process: New) -> None:
    alone, other = process(), process()
    other.start_queueing()
    await in_time(other)
    for _ in range(_ALONE):
        assert not await in_time(alone)
        await alone.release(0)
    waiting = asyncio.create_task(in_time(alone))
    await until(partial(queued, alone))
    await other.release(7)
    assert await asyncio.wait_for(waiting, PATIENCE) == 7


async def test_a_process_that_is_alone_again_takes_no_tickets(process: New) -> None:
    lock = process()
    lock.start_queueing()
    for _ in range(_ALONE):
        await in_time(lock)
        assert lock._held
        await lock.release(0)
    await in_time(lock)
    assert not lock._held


async def test_acquiring_tells_how_far_others_have_written(process: New) -> None:
    lock, other = process(), process()
    lock.start_queueing()
    other.start_queueing()
    told = []
    for newest, one in enumerate((lock, lock, other, lock), 1):
        told.append(await in_time(one))
        await one.release(newest)
    assert told == [0, 0, 2, 3]


async def test_a_turn_lasts_for_as_long_again_as_its_first_write_took(
    process: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    lock = process()
    assert not lock.may_continue()
    lock.start_queueing()
    await in_time(lock)
    monkeypatch.setattr(ticket_lock, "_time", lambda: now)
    lock._began_at = 0.0
    for took, lasts in ((0.05, True), (0.09, True), (0.11, False)):
        now = took
        assert lock.may_continue() is lasts
    await lock.release(1)
    assert not lock.may_continue()


async def test_a_ticket_that_was_lost_with_the_counter_is_taken_again(process: New) -> None:
    first, second = process(), process()
    for lock in (first, second):
        lock.start_queueing()
    for _ in range(20):
        await in_time(first)
        await first.release(0)
    await in_time(first)
    waiting = asyncio.create_task(in_time(second))
    await until(partial(queued, second))
    await first._metadata.delete_one(_COUNTER)
    await asyncio.wait_for(waiting, PATIENCE)


class CounterDocument:
    """The counter without a database."""

    def __init__(self) -> None:
        self.values = {"taken": 0, "served": 0, "newest": 0}
        self.errors: list[Exception] = []

    def with_options(self, **options: object) -> CounterDocument:
        return self

    async def find_one(self, query: object) -> dict[str, int]:
        return dict(self.values)

    async def find_one_and_update(
        self, query: object, update: dict[str, dict[str, int]], **options: object
    ) -> dict[str, int]:
        if self.errors:
            raise self.errors.pop(0)
        for name, value in update.get("$inc", {}).items():
            self.values[name] += value
        for name, value in update.get("$max", {}).items():
            self.values[name] = max(self.values[name], value)
        self.values |= update.get("$set", {})
        return dict(self.values)


def lock_on(counter: CounterDocument) -> TicketLock:
    lock = TicketLock(cast(Store, SimpleNamespace(metadata=counter)))
    lock.start_queueing()
    return lock


async def test_a_counter_that_another_process_creates_at_the_same_moment_is_used() -> None:
    counter = CounterDocument()
    counter.errors = [DuplicateKeyError("twice")]
    lock = lock_on(counter)
    await lock.acquire()
    assert (lock._held, counter.values["taken"]) == (True, 1)


async def test_a_ticket_that_a_new_counter_does_not_know_is_taken_again() -> None:
    counter = CounterDocument()
    counter.values["taken"] = 3
    lock = lock_on(counter)
    waiting = asyncio.create_task(lock.acquire())
    await until(partial(queued, lock))
    counter.values = {"taken": 0, "served": 0, "newest": 0}
    await asyncio.wait_for(waiting, PATIENCE)
    assert counter.values["taken"] == lock._ticket == 1


async def test_a_process_that_sees_another_one_takes_tickets_for_as_long_again() -> None:
    counter = CounterDocument()
    lock = lock_on(counter)
    for _ in range(_ALONE - 1):
        await lock.acquire()
        await lock.release(0)
    for name in ("taken", "served"):
        counter.values[name] += 1  # the turn of another process
    for _ in range(_ALONE):
        await lock.acquire()
        assert lock._held
        await lock.release(0)
    await lock.acquire()
    assert not lock._held


class MovingCounter(CounterDocument):
    """A counter that serves another ticket before each look, which takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.now = 0.0

    async def find_one(self, query: object) -> dict[str, int]:
        self.now += self.seconds
        self.values["served"] += 1
        return await super().find_one(query)


async def test_no_ticket_is_skipped_while_turns_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = MovingCounter(0.9 * ticket_lock._STALE_SECONDS)
    counter.values["taken"] = 4
    monkeypatch.setattr(ticket_lock, "_time", lambda: counter.now)
    lock = lock_on(counter)
    await in_time(lock)
    assert (counter.values["served"], counter.now) == (4, 4 * counter.seconds)
