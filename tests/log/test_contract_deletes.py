"""The promises about deletes, on every backend that has them."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.log.base import Log
from roomcast.log.sequencer import KEY_MS
from roomcast.model.errors import KeyReused
from roomcast.model.message import Cut
from roomcast.model.retention import Retention, RoomRule
from roomcast.model.rooms import Selection
from tests.log.conftest import Open
from tests.log.steps import (
    draft,
    kept,
    key,
    listed,
    next_batch,
    publish,
    retained,
    rooms,
    seqs,
    take,
    told,
    trimmed,
    until,
)

pytestmark = pytest.mark.not_on("mongodb", because="a capped collection keeps its own caps and deletes nothing")


async def test_a_deleted_message_is_read_nowhere(log: Log) -> None:
    await publish(log, *["a"] * 4)
    assert await log.delete(2)
    assert not await log.delete(2)
    assert not await log.delete(99)
    assert await log.get(2) is None
    assert await retained(log, "a") == [1, 3, 4]
    assert await log.seek_newest(rooms("a"), 3) == 0
    assert seqs(await take(log.consumer("test", 0), 3)) == [1, 3, 4]
    assert (await log.bounds()).bytes == 6


async def test_a_deleted_message_is_none_of_the_newest_by_prefix(log: Log) -> None:
    await publish(log, *"aaa")
    await log.delete(3)
    assert await log.seek_newest(Selection.of((), ["a"]), 1) == 1


async def test_a_deletion_is_told_only_to_readers_from_before_it(log: Log) -> None:
    await publish(log, *["a", "b"] * 4)
    for seq in (3, 5):
        await log.delete(seq)
    assert told(await log.read(rooms("a", "b"), 1, 100), 1) == {"a": 2}
    assert told(await log.read(rooms("a", "b"), 4, 100), 4) == {"a": 1}
    assert told(await log.read(rooms("a", "b"), 5, 100), 5) == {}
    assert told(await log.read(rooms("b"), 0, 100), 0) == {}


async def test_times_begin_anew_once_all_messages_from_the_future_are_gone(log: Log, clock: list[int]) -> None:
    times = []
    for clock[0] in (5_000, 3_000):
        times += [message.stored_at for message in await publish(log, "a")]
        await log.delete_room("a")
    assert times == [5_000, 3_000]


async def test_losses_are_told_in_the_order_of_their_last_messages(log: Log) -> None:
    await publish(log, *"aabba")
    await log.delete(2)
    await log.delete_room("b")
    losses = (await log.read(rooms("a", "b"), 0, 100)).losses
    assert [(loss.room, loss.last) for loss in losses] == [("a", 2), ("b", 4)]
    assert (await log.read(rooms("b"), 0, 100)).oldest == 6  # it retains none, and this is the next one


async def test_a_deleted_message_that_is_trimmed_later_was_removed_by_no_cap(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    await publish(log, *"aa")
    await log.delete(1)
    await publish(log, "b")
    await trimmed(log, 1)
    [loss] = (await log.read(rooms("a"), 0, 100)).losses
    assert (loss.last, loss.ever, loss.after) == (1, 1, 0)


async def test_a_consumer_is_told_that_a_room_was_deleted(log: Log) -> None:
    await publish(log, *"aab")
    consumer = log.consumer("test", 3)
    await log.delete_room("a")
    assert list((await next_batch(consumer)).cuts) == [Cut("a", 2, 2)]


async def test_each_of_many_deletions_in_a_row_is_told_once(log: Log) -> None:
    await publish(log, *["a"] * 8)
    for seq in (2, 3, 4, 7):
        await log.delete(seq)
    page = await log.read(rooms("a"), 1, 1)
    assert seqs(page.messages) == [5]
    assert [loss.last for loss in page.losses if loss.last <= page.position] == [2, 3, 4]
    assert told(page, 1) == {"a": 3}


async def test_a_deleted_message_leaves_a_row_that_counts_until_it_is_trimmed(open_log: Open) -> None:
    log = await open_log(max_messages=3)
    await publish(log, *["a"] * 3)
    await log.delete(2)
    await publish(log, "a")
    await kept(log, [3, 4], "a")
    assert (await log.bounds()).messages == 3


async def test_a_deleted_room_is_empty_and_later_messages_stay(log: Log) -> None:
    await publish(log, *["a", "b"] * 3)
    await log.delete_room("a")
    assert await retained(log, "a") == []
    assert await retained(log, "b") == [2, 4, 6]
    await log.delete_room("a")
    await log.delete_room("never")
    await publish(log, "a")
    assert await retained(log, "a") == [7]
    assert told(await log.read(rooms("a"), 0, 100), 0) == {"a": 3}

    async def gone() -> bool:
        return (await log.bounds()).messages == 4

    await until(gone)
    assert (await log.bounds()).bytes == 8


async def test_how_many_of_a_deleted_room_are_lost_is_exact(open_log: Open) -> None:
    log = await open_log(max_messages=8)
    await publish(log, *["a", "b"] * 5)  # 1 and 2 are trimmed
    await kept(log, [3, 5, 7, 9], "a")
    await log.delete_room("a")
    await publish(log, "b", "a")
    for after, lost in ((0, 5), (1, 4), (4, 3), (8, 1), (9, 0), (10, 0)):
        assert told(await log.read(rooms("a"), after, 100), after) == ({"a": lost} if lost else {})


@pytest.mark.parametrize("how", ["message", "room"])
async def test_a_key_outlives_the_deletion_of_its_message(log: Log, clock: list[int], how: str) -> None:
    first = (await log.append([draft()], key("k"))).messages
    clock[0] += KEY_MS - 1
    await (log.delete(1) if how == "message" else log.delete_room("a"))
    again = await log.append([draft()], key("k"))
    assert (seqs(again.messages), again.messages[0].stored_at, again.repeated) == ([1], first[0].stored_at, True)
    with pytest.raises(KeyReused):
        await log.append([draft()], key("k", b"other"))
    assert await retained(log, "a") == []


async def test_a_consumer_is_told_of_a_deletion(log: Log) -> None:
    await publish(log, "a", "a", "b")
    tail = log.consumer("test", 0)
    await take(tail, 3)
    waiting = asyncio.ensure_future(next_batch(tail))
    await log.delete(2)
    assert [(cut.room, cut.upto, cut.gone) for cut in (await waiting).cuts] == [("a", 2, 1)]


async def test_a_consumer_is_told_of_all_deletions_since_its_last_batch(log: Log) -> None:
    await publish(log, *["a"] * 5)
    tail = log.consumer("test", 0)
    await take(tail, 5)
    for seq in (5, 3):  # the newest first: the second cut does not reach as far as the first
        await log.delete(seq)
    cuts = list((await next_batch(tail)).cuts)
    if len(cuts) == 1 and cuts[0].gone == 1:  # a log of another process may tell one after the other
        cuts += (await next_batch(tail)).cuts
    assert max(cut.upto for cut in cuts) == 5
    assert sum(cut.gone for cut in cuts) == 2


async def test_a_key_of_a_deleted_room_is_forgotten_after_ten_minutes(log: Log, clock: list[int]) -> None:
    await log.append([draft()], key("k"))
    await log.delete_room("a")
    await publish(log, "b")  # with it, or soon after it, the rows of the room go
    clock[0] += KEY_MS

    async def forgotten() -> bool:
        return not (await log.append([draft("b")], key("k"))).repeated

    await until(forgotten)


async def test_a_deleted_room_that_is_forgotten_is_never_silent(open_log: Open) -> None:
    log = await open_log(empty_rooms=0)
    await publish(log, "a", "b")
    for room in "ba":  # the room with the older message is empty last
        await log.delete_room(room)
    await publish(log, "c", "c")
    assert told(await log.read(rooms("b"), 1, 10), 1)["b"] >= 1


async def test_a_room_with_older_messages_that_is_forgotten_later_hides_no_loss(
    open_log: Open, clock: list[int]
) -> None:
    log = await open_log(empty_rooms=0)
    for clock[0], room in [(1_000, "a"), (2_000, "b")]:
        await publish(log, room)

    for room in "ba":
        await log.delete_room(room)
        await publish(log, "c")

        async def forgotten(room: str = room) -> bool:
            return told(await log.read(rooms(room), 0, 10), 0) == {room: 2}

        await until(forgotten)
    assert told(await log.read(rooms("b"), 1, 10), 1) == {"b": 1}
    assert await log.seek_time(rooms("b"), 1_500) < 2


async def test_a_room_that_has_messages_again_is_not_forgotten(open_log: Open) -> None:
    log = await open_log(empty_rooms=1)
    await publish(log, "a")
    await log.delete_room("a")
    await publish(log, *"abc")
    for room in "bc":
        await log.delete_room(room)
    assert await retained(log, "a") == [2]
    assert [stats.room for stats in await listed(log)] == ["a"]


async def test_a_deleted_message_or_room_no_longer_counts_for_its_rule(open_log: Open) -> None:
    log = await open_log(rooms=(RoomRule("few", max_messages=2), RoomRule("small", max_bytes=10)))
    await publish(log, "few", "few", "small", "small", body=b"12345")
    await log.delete_room("few")
    await log.delete(3)
    await publish(log, "few", "few", "small", "other", body=b"12345")
    await kept(log, [5, 6], "few")
    assert await retained(log, "small") == [4, 7]

    async def counted() -> bool:
        return (await log.bounds()).bytes == 5 * len(b"12345")

    await until(counted)


async def test_a_new_age_keeps_messages_that_are_young_enough(open_log: Open) -> None:
    log = await open_log(max_messages=5)
    await publish(log, *["a"] * 8)
    await kept(log, [4, 5, 6, 7, 8], "a")
    log.prepare_rules(Retention(max_age=3_600.0))()
    await publish(log, "b")
    await kept(log, [5, 6, 7, 8, 9], "a", "b")


async def test_many_messages_that_are_too_old_go_in_steps_of_one_walk(open_log: Open, clock: list[int]) -> None:
    log = await open_log(max_age=3_600.0)
    await log.append([draft()] * 1_000)
    clock[0] += 3_600_001
    log.prepare_rules(Retention(max_age=3_600.0))()
    await kept(log, [], "a")
