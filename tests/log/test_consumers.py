"""The batches of a consumer if the storage is ahead of the commits that it was told of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from roomcast.log.consumers import STILL_SECONDS, Consumers
from roomcast.model.errors import LogRestarted
from roomcast.model.message import Cut, Message


def stored(*seqs: int) -> list[Message]:
    return [Message(seq, "a", None, seq, seq - 1, b"{}") for seq in seqs]


@pytest.mark.parametrize(
    ("there", "missed"),
    [([6, 7], 5), ([1, 2, 7], 4), ([1, 2, 3, 4, 5, 6, 7], 0), ([2], 1), ([], 7)],
    ids=["trimmed", "taken by a rule", "whole", "more to come", "all gone"],
)
async def test_messages_that_are_gone_before_they_are_fetched_are_missed_even_if_no_trimming_was_told(
    there: list[int], missed: int
) -> None:
    async def fetch(after: int) -> Sequence[Message]:
        return stored(*there)

    consumer = Consumers(7, 0, fetch, lambda: None).open("test", 0)
    batch = await anext(consumer)
    assert (list(batch.messages), batch.missed) == (stored(*there), missed)


async def test_a_missed_message_is_counted_once_however_it_is_told() -> None:
    async def fetch(after: int) -> Sequence[Message]:
        return stored(8, 9)

    feed = Consumers(4, 0, fetch, lambda: None)
    consumer = feed.open("test", 0)
    feed.push((), 5)
    feed.newest = 9
    assert (await anext(consumer)).missed == 5 + 2
    feed.push(stored(10), 7)
    assert (await anext(consumer)).missed == 0


async def never(after: int) -> Sequence[Message]:
    raise AssertionError("nothing must be fetched")


async def test_a_consumer_that_moves_again_holds_back_trimming_again() -> None:
    consumers = Consumers(0, 0, never, lambda: None)
    consumer = consumers.open("test", 0)
    consumers.push(stored(1), 0)
    for _ in range(STILL_SECONDS + 1):
        consumer.check_progress(consumers.newest)
    assert consumers.floor is None
    await anext(consumer)
    consumers.push(stored(2), 0)
    await anext(consumer)
    assert consumers.floor == 1
    consumers.end()


@pytest.mark.parametrize(("checks", "stands_still"), [(STILL_SECONDS, False), (STILL_SECONDS + 1, True)])
async def test_a_consumer_stands_still_only_after_its_time(checks: int, stands_still: bool) -> None:
    consumers = Consumers(0, 0, never, lambda: None)
    consumer = consumers.open("test", 0)
    consumers.push(stored(1), 0)
    for _ in range(checks):
        consumer.check_progress(consumers.newest)
    assert consumer.stands_still is stands_still
    consumers.end()


async def test_commits_that_all_consumers_were_given_are_no_longer_held() -> None:
    consumers = Consumers(0, 0, never, lambda: None)
    both = [consumers.open("test", 0) for _ in range(2)]
    consumers.push(stored(1), 0)
    consumers.push(stored(2), 0)
    for consumer in both:
        assert len((await anext(consumer)).messages) == 2
    consumers.open("another", 2)
    assert not consumers._recent
    consumers.end()


async def test_a_consumer_of_a_log_with_another_history_is_told_and_that_of_a_closed_log_ends() -> None:
    consumers = Consumers(0, 0, never, lambda: None)
    waiting = asyncio.ensure_future(anext(consumers.open("test", 0)))
    await asyncio.sleep(0)
    consumers.restart(9, 3)
    with pytest.raises(LogRestarted):
        await waiting
    later = consumers.open("test", 9)
    consumers.end()
    assert [batch async for batch in later] == []
    assert [batch async for batch in consumers.open("test", 9)] == []


async def test_a_consumer_that_moves_on_between_two_checks_does_not_stand_still() -> None:
    freed: list[object] = []
    consumers = Consumers(0, 0, never, lambda: freed.append(None))
    moving, hung = consumers.open("moving", 0), consumers.open("hung", 0)
    for seq in range(1, STILL_SECONDS + 2):
        consumers.push(stored(seq), 0)
        await anext(moving)
        freed.clear()
        assert consumers._check
        consumers._check.cancel()  # the next one is due now
        consumers._check_all()
    assert (moving.stands_still, hung.stands_still) == (False, True)
    assert consumers.floor == moving.position
    assert freed == [None], "trimming is told that it may go on"
    consumers.end()


async def test_nobody_is_checked_once_no_consumer_is_behind() -> None:
    consumers = Consumers(0, 0, never, lambda: None)
    consumer = consumers.open("test", 0)
    consumers.push(stored(1), 0)
    await anext(consumer)
    waiting = asyncio.ensure_future(anext(consumer))  # this says that the last batch is delivered
    await asyncio.sleep(0)
    assert consumers._check
    consumers._check.cancel()  # it is due now
    consumers._check_all()
    assert consumers._check is None
    await consumer.aclose()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_no_commit_of_another_history_is_given_to_a_later_consumer() -> None:
    async def fetch(after: int) -> Sequence[Message]:
        return stored(1)

    consumers = Consumers(0, 0, fetch, lambda: None)
    consumers.open("test", 0)
    consumers.push([Message(1, "b", None, 0, 0, b"{}")], 0)
    consumers.restart(1, 0)
    assert list((await anext(consumers.open("test", 0))).messages) == stored(1)
    consumers.end()


async def test_nothing_is_read_for_a_consumer_that_has_missed_everything() -> None:
    consumers = Consumers(5, 5, never, lambda: None)
    batch = await anext(consumers.open("test", 0))
    assert (batch.messages, batch.position, batch.missed) == ((), 5, 5)


async def test_a_commit_that_the_only_consumer_has_delivered_is_dropped_at_once() -> None:
    consumers = Consumers(0, 0, never, lambda: None)
    consumer = consumers.open("test", 0)
    for seq in (1, 2):
        consumers.push(stored(seq), 0)
        await anext(consumer)
    assert [seq for [(seq, *_)], _ in consumers._recent] == [2]
    consumers.end()


async def test_a_consumer_of_the_new_history_begins_where_that_one_begins() -> None:
    async def fetch(after: int) -> Sequence[Message]:
        return stored(4, 5)

    consumers = Consumers(9, 0, fetch, lambda: None)
    consumers.restart(5, 3)
    batch = await anext(consumers.open("test", 0))
    assert (list(batch.messages), batch.trimmed, batch.missed) == (stored(4, 5), 3, 3)
    assert consumers.newest == 5


@pytest.mark.parametrize(("position", "checks_again"), [(0, True), (1, False)])
async def test_consumers_are_checked_only_as_long_as_one_is_behind(position: int, checks_again: bool) -> None:
    consumers = Consumers(1, 0, never, lambda: None)
    consumers.open("test", position)
    consumers._check_all()
    assert (consumers._check is not None) is checks_again
    consumers.end()
    assert consumers._check is None


async def test_more_may_be_trimmed_once_consumers_have_ended() -> None:
    calls: list[None] = []
    consumers = Consumers(3, 0, never, lambda: calls.append(None))
    consumers.restart(3, 0)
    assert not calls
    consumers.open("test", 1)
    consumers.restart(3, 0)
    assert (len(calls), consumers.floor) == (1, None)


async def test_a_consumer_that_is_closed_while_messages_are_read_for_it_ends() -> None:
    async def fetch(after: int) -> Sequence[Message]:
        await consumer.aclose()
        return stored(1)

    consumers = Consumers(1, 0, fetch, lambda: None)
    consumer = consumers.open("test", 0)
    with pytest.raises(StopAsyncIteration):
        await anext(consumer)


async def test_a_cut_is_told_once() -> None:
    consumers = Consumers(1, 0, never, lambda: None)
    consumer = consumers.open("test", 1)
    cut = Cut("a", 1, 1)
    consumers.push((), 0, [cut])
    assert (await anext(consumer)).cuts == (cut,)
    consumers.push(stored(2), 0)
    assert (await anext(consumer)).cuts == ()
    consumers.end()


@pytest.mark.parametrize(("after", "reads"), [(0, [0]), (1, [1]), (2, []), (3, []), (4, [])])
async def test_a_consumer_gets_all_messages_after_its_position_and_reads_only_those_that_are_not_recent(
    after: int, reads: list[int]
) -> None:
    read: list[int] = []

    async def fetch(after: int) -> Sequence[Message]:
        read.append(after)
        return stored(*range(after + 1, 6))

    consumers = Consumers(2, 0, fetch, lambda: None)
    consumers.open("slow", 2)
    consumers.push(stored(3, 4, 5), 0)
    assert list((await anext(consumers.open("test", after))).messages) == stored(*range(after + 1, 6))
    assert read == reads
    consumers.end()


async def test_a_message_stored_while_a_read_finds_nothing_is_given_next() -> None:
    async def fetch(after: int) -> Sequence[Message]:
        consumers.push(stored(6), 0)
        return []

    consumers = Consumers(5, 0, fetch, lambda: None)
    consumer = consumers.open("test", 0)
    batch = await anext(consumer)
    assert (batch.position, batch.missed) == (5, 5)
    assert list((await anext(consumer)).messages) == stored(6)
    consumers.end()


async def test_consumers_that_have_ended_are_checked_no_more() -> None:
    consumers = Consumers(0, 0, never, lambda: None)
    consumers.open("test", 0)
    consumers.push(stored(1), 0)
    check = consumers._check
    consumers.restart(1, 0)
    assert check
    assert check.cancelled()


async def test_a_consumer_gets_what_was_stored_while_there_was_none() -> None:
    async def fetch(after: int) -> Sequence[Message]:
        return stored(*range(after + 1, 4))

    consumers = Consumers(0, 0, fetch, lambda: None)
    first = consumers.open("first", 0)
    for seq in (1, 2):
        consumers.push(stored(seq), 0)
    await first.aclose()
    consumers.push(stored(3), 0)
    assert list((await anext(consumers.open("second", 1))).messages) == stored(2, 3)
    consumers.end()


async def test_only_one_check_is_due_at_a_time() -> None:
    consumers = Consumers(0, 0, never, lambda: None)
    consumers.open("test", 0)
    consumers.push(stored(1), 0)
    check = consumers._check
    consumers.push(stored(2), 0)
    assert check is not None
    assert consumers._check is check
    consumers.end()


async def test_the_size_of_the_recent_commits_is_that_of_those_that_are_held() -> None:
    consumers = Consumers(0, 0, never, lambda: None)
    first = consumers.open("first", 0)
    for seq in (1, 2):
        consumers.push(stored(seq), 0)
    await anext(first)
    consumers.open("second", 1)
    assert (len(consumers._recent), consumers._recent_bytes) == (1, 2)
    consumers.end()
