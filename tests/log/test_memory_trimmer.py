"""The steps in which the log in memory is trimmed: no turn of the loop removes much at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from roomcast.log.consumers import Consumer, Consumers
from roomcast.log.memory import MemoryLog, trimmer
from roomcast.model.message import Cut, Message
from roomcast.model.retention import Retention, RoomRule
from tests.log.steps import draft, next_batch, publish, seqs, take, trimmed, until

STEP = 3


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimmer, "TRIM_STEP", STEP)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages rules removed in each step. A batch of a consumer may tell several steps as one."""
    steps: list[int] = []
    push = Consumers.push

    def pushed(consumers: Consumers, messages: Sequence[Message], trimmed: int, cuts: Sequence[Cut] = ()) -> None:
        steps.append(sum(cut.gone for cut in cuts))
        push(consumers, messages, trimmed, cuts)

    monkeypatch.setattr(Consumers, "push", pushed)
    return steps


async def until_cut(consumer: Consumer, last: int) -> None:
    """Waits until rules have removed the message `last`."""
    while not any(cut.upto >= last for cut in (await next_batch(consumer)).cuts):
        pass


async def test_a_released_room_is_trimmed_to_its_rule_in_steps(steps: list[int]) -> None:
    log = MemoryLog(Retention(rooms=(RoomRule("a", max_messages=1),)))
    slow, other = log.consumer("slow", 0), log.consumer("other", 10)
    await publish(log, *["a"] * 10)
    await slow.aclose()
    await until_cut(other, 9)
    assert max(steps) == STEP


async def test_many_released_rooms_are_trimmed_to_their_rule_in_steps(steps: list[int]) -> None:
    log = MemoryLog(Retention(rooms=(RoomRule("*", max_messages=1),)))
    slow = log.consumer("slow", 0)
    await publish(log, *(f"room/{number}" for _ in range(3) for number in range(5)))
    await slow.aclose()

    async def reached() -> bool:
        return (await log.bounds()).messages == 5

    await until(reached)
    assert max(steps) < 2 * STEP


async def test_a_released_room_is_trimmed_to_its_rule_without_a_reader_and_without_a_walk() -> None:
    log = MemoryLog(Retention(rooms=(RoomRule("a", max_messages=1),)))
    consumer = log.consumer("test", 0)
    await publish(log, *["a"] * 10)

    async def walked() -> bool:
        return log._trimmer._sweep is not None and not log._trimmer._sweep._walking

    await until(walked)
    await consumer.aclose()

    async def reached() -> bool:
        return (await log.bounds()).messages == 1

    await until(reached)


async def test_new_rules_remove_the_messages_of_many_rooms_in_steps(steps: list[int]) -> None:
    log = MemoryLog(Retention())
    await log.append([draft(f"room/{number}") for _ in range(3) for number in range(5)])
    consumer = log.consumer("test", 15)
    log.prepare_rules(Retention(rooms=(RoomRule("room/*", max_messages=1),)))()
    await until_cut(consumer, 10)
    assert max(steps) < 2 * STEP


async def test_a_log_beyond_its_caps_and_its_rules_is_trimmed_to_both() -> None:
    log = MemoryLog(Retention(max_messages=1, rooms=(RoomRule("a", max_messages=1),)))
    consumer = log.consumer("test", 0)
    await publish(log, *["a"] * 10, *["b"] * 10)
    await consumer.aclose()
    last = 0
    while last < 19:
        reached = (await log.bounds()).trimmed
        assert reached - last <= STEP, "each turn does one step"
        last = reached
        await asyncio.sleep(0)


async def test_messages_that_are_too_old_go_in_steps(clock: list[int]) -> None:
    log = MemoryLog(Retention())
    await publish(log, *["a"] * 5)
    clock[0] += 60_001
    consumer = log.consumer("test", 5)
    log.prepare_rules(Retention(max_age=60.0))()
    assert [(await next_batch(consumer)).trimmed for _ in range(2)] == [STEP, 5]
    await log.close()


async def test_a_log_that_is_closed_is_trimmed_no_more() -> None:
    log = MemoryLog(Retention(max_messages=1))
    consumer = log.consumer("test", 0)
    await publish(log, *["a"] * 10)
    assert seqs(await take(consumer, 10)) == list(range(1, 11))
    await consumer.aclose()
    await log.close()
    reached = log._content.trimmed
    assert STEP <= reached < 9
    await asyncio.sleep(0)
    assert log._content.trimmed == reached


async def test_the_log_is_trimmed_to_its_caps_in_steps() -> None:
    log = MemoryLog(Retention(max_messages=1))
    consumer = log.consumer("test", 0)
    await publish(log, *["a"] * 10)
    assert (await log.bounds()).trimmed == 0
    await consumer.aclose()
    assert (await log.bounds()).trimmed == STEP
    await trimmed(log, 9)


async def test_a_walk_goes_on_after_a_room_that_is_forgotten_as_soon_as_it_is_empty(clock: list[int]) -> None:
    log = MemoryLog(Retention(rooms=(RoomRule("*", max_age=1.0),)), empty_rooms=0)
    await publish(log, "a", "b")
    clock[0] += 1_001
    consumer = log.consumer("test", 2)
    log.prepare_rules(log.retention)()
    await until_cut(consumer, 2)
    assert (await log.bounds()).messages == 0


async def test_a_log_that_is_closed_walks_its_rooms_no_more() -> None:
    log = MemoryLog(Retention(max_age=60.0))
    await publish(log, "a")
    sweep = log._trimmer._sweep
    assert sweep
    assert not log._trimmer.must_begin

    async def waits() -> bool:
        return sweep._timer is not None

    await until(waits)
    await log.close()
    assert not await waits()


async def test_a_consumer_is_told_what_a_rule_removes_with_an_append() -> None:
    log = MemoryLog(Retention(rooms=(RoomRule("a", max_messages=1),)))
    consumer = log.consumer("test", 10)
    await publish(log, "a", "a")
    assert (await next_batch(consumer)).cuts == (Cut("a", 1, 1),)
    assert not log._content.over
    await log.close()
