"""The promises of `log/base.py` about consumers and closing, on every backend."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.log import consumers as feeding
from roomcast.log.base import Log
from roomcast.model.errors import LogUnavailable
from tests.log.conftest import Open
from tests.log.steps import draft, next_batch, publish, rooms, seqs, take, trimmed


async def test_a_consumer_gets_history_and_then_new_messages(log: Log) -> None:
    stored = await publish(log, *"abc")
    tail = log.consumer("test", 1)
    assert await take(tail, 2) == stored[1:]
    waiting = asyncio.create_task(next_batch(tail))
    stored = await publish(log, "d")
    assert (await waiting).messages == stored


async def test_appends_of_one_turn_come_in_one_batch(log: Log) -> None:
    tail = log.consumer("test", 0)
    await asyncio.gather(*(log.append([draft()]) for _ in range(50)))
    assert len((await next_batch(tail)).messages) == 50


async def test_a_consumer_gets_each_message_once_and_in_order_under_load(log: Log) -> None:
    tail = log.consumer("test", 0)
    follower = asyncio.create_task(take(tail, 400))

    async def publisher(room: str) -> None:
        for _ in range(20):
            await log.append([draft(room), draft("all")])

    await asyncio.gather(*(publisher(f"r{n}") for n in range(10)))
    assert seqs(await follower) == list(range(1, 401))


async def test_a_consumer_is_woken_before_the_publisher_is_answered(log: Log) -> None:
    tail = log.consumer("test", 0)
    order: list[str] = []
    waiting = asyncio.create_task(next_batch(tail))
    waiting.add_done_callback(lambda _: order.append("tail"))
    await asyncio.sleep(0)
    appending = log.append([draft()])
    await asyncio.gather(waiting, appending)
    assert order == ["tail"]
    assert (await waiting).messages == (await appending).messages


@pytest.mark.not_on("mongodb", because="the collection trims itself, for all processes")
async def test_messages_that_a_consumer_has_not_delivered_are_kept(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    tail = log.consumer("test", 0)
    await publish(log, *"aaaaaa")
    assert seqs(await take(tail, 6)) == [1, 2, 3, 4, 5, 6]
    await publish(log, "a")
    assert (await log.bounds()).trimmed == 0
    assert seqs((await next_batch(tail)).messages) == [7]
    await trimmed(log, 5)


async def test_a_consumer_is_told_how_far_the_log_is_trimmed(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    tail = log.consumer("test", 0)
    await publish(log, *"aaaa")
    await take(tail, 4)
    batch = await next_batch(tail)
    assert (batch.messages, batch.trimmed, batch.missed) == ((), 2, 0)


@pytest.mark.not_on("mongodb", because="the collection trims itself, for all processes")
async def test_a_closed_consumer_no_longer_holds_back_trimming(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    tail = log.consumer("test", 0)
    await publish(log, *"aaaa")
    assert (await log.bounds()).trimmed == 0
    await tail.aclose()
    await trimmed(log, 2)
    with pytest.raises(StopAsyncIteration):
        await next_batch(tail)


async def test_a_consumer_that_begins_before_the_oldest_message_continues_with_that_one(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    await publish(log, *"aaaa")
    await trimmed(log, 2)
    batch = await next_batch(log.consumer("test", 0))
    assert seqs(batch.messages) == [3, 4]
    assert batch.missed == 2


async def test_any_number_of_consumers_see_each_message_once_and_in_order(log: Log) -> None:
    stored = await publish(log, *"abc")
    consumers = [log.consumer(name, after) for after, name in enumerate(["one", "two", "three"])]
    for after, consumer in enumerate(consumers):
        assert await take(consumer, 3 - after) == stored[after:]
    waiting = [asyncio.create_task(next_batch(consumer)) for consumer in consumers]
    stored = await publish(log, "d")
    assert [(await batch).messages for batch in waiting] == [stored] * 3
    await consumers[0].aclose()
    stored = await publish(log, "e")
    assert await take(consumers[2], 1) == stored
    with pytest.raises(StopAsyncIteration):
        await next_batch(consumers[0])


async def test_the_positions_of_consumers_are_told_by_their_names(log: Log) -> None:
    first, behind = log.consumer("twice", 0), log.consumer("twice", 0)
    other = log.consumer("other", 0)
    await publish(log, "a", "a")
    for consumer in (first, other):
        await take(consumer, 2)
        asking = asyncio.ensure_future(next_batch(consumer))
        await asyncio.sleep(0)
        asking.cancel()
    assert log.positions() == {"twice": 0, "other": 2}
    await behind.aclose()
    assert log.positions() == {"twice": 2, "other": 2}


async def test_a_consumer_that_is_behind_continues_from_the_log(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "RECENT_BYTES", 40)
    fast, slow = log.consumer("fast", 0), log.consumer("slow", 0)
    for n in range(1, 51):
        await publish(log, "a")
        assert seqs(await take(fast, 1)) == [n]
    assert seqs(await take(slow, 50)) == list(range(1, 51))


@pytest.mark.not_on("mongodb", because="the collection trims itself, for all processes")
async def test_the_slowest_consumer_decides_what_is_trimmed(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    fast, slow = log.consumer("fast", 0), log.consumer("slow", 0)
    await publish(log, *"aaaaaa")
    await take(fast, 6)
    waiting = asyncio.create_task(next_batch(fast))
    await asyncio.sleep(0)
    await publish(log, "a")
    assert (await log.bounds()).trimmed == 0
    assert seqs(await take(slow, 7)) == list(range(1, 8))
    again = asyncio.create_task(next_batch(slow))
    await waiting
    await asyncio.gather(asyncio.create_task(next_batch(fast)), again)
    await trimmed(log, 5)


@pytest.mark.not_on("mongodb", because="the collection trims itself, for all processes")
async def test_a_consumer_that_stands_still_holds_back_trimming_only_for_a_while(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_CHECK_SECONDS", 0.01)
    monkeypatch.setattr(feeding, "STILL_SECONDS", 0.05)
    monkeypatch.setattr(feeding, "RECENT_BYTES", 1)
    log = await open_log(max_messages=2)
    still, other = log.consumer("still", 0), log.consumer("other", 6)
    await publish(log, *"aaaaaa")
    while (await next_batch(other)).trimmed < 4:  # consumers are told a moment after readers see it
        pass
    batch = await next_batch(still)
    assert (seqs(batch.messages), batch.missed) == ([5, 6], 4)
    moving = asyncio.create_task(next_batch(still))  # it holds back trimming again from now on
    await publish(log, "a")
    assert (await moving).missed == 0


async def test_cancelling_a_wait_for_a_batch_loses_nothing(log: Log) -> None:
    tail = log.consumer("test", 0)
    for n in range(1, 20):
        waiting = asyncio.create_task(next_batch(tail))
        publishing = log.append([draft()])
        for _ in range(n % 5):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await publishing
        if waiting.cancelled():
            assert seqs((await next_batch(tail)).messages) == [n]
        else:
            assert seqs(waiting.result().messages) == [n]


async def test_closing_the_log_ends_its_consumers(log: Log) -> None:
    tail = log.consumer("test", 0)
    waiting = asyncio.create_task(next_batch(tail))
    await asyncio.sleep(0)
    await log.close()
    with pytest.raises(StopAsyncIteration):
        await waiting
    with pytest.raises(StopAsyncIteration):
        await next_batch(log.consumer("test", 0))


# Closing


async def test_closing_waits_for_the_appends_under_way(log: Log) -> None:
    appends = [log.append([draft()]) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(log.close(), log.close())
    assert seqs([m for append in appends for m in append.result().messages]) == list(range(1, 21))


async def test_a_closed_log_is_unavailable_and_closes_again(log: Log) -> None:
    await log.close()
    await log.close()
    for call in (
        log.append([draft()]),
        log.read(rooms("a"), 0, 1),
        log.seek_newest(rooms("a"), 1),
        log.seek_time(rooms("a"), 0),
        log.bounds(),
        log.rooms("", "name", None, 1),
        log.rooms("", "newest", None, 1),
    ):
        with pytest.raises(LogUnavailable):
            await call
