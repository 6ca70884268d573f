"""The promises about rules, ages and deletes, on every backend that has them."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.log.base import Log
from roomcast.log.sequencer import KEY_MS
from roomcast.model.errors import KeyReused, TooLarge
from roomcast.model.retention import Retention, RoomRule
from roomcast.model.rooms import Selection
from tests.log.conftest import Open
from tests.log.steps import draft, key, listed, next_batch, publish, rooms, seqs, take, told, until

pytestmark = pytest.mark.not_on("mongodb", because="a capped collection keeps its own caps and deletes nothing")


async def retained(log: Log, *names: str) -> list[int]:
    return seqs((await log.read(rooms(*names), 0, 1_000)).messages)


async def kept(log: Log, expected: list[int], *names: str) -> None:
    """Waits until these rooms retain exactly these messages."""

    async def reached() -> bool:
        return await retained(log, *names) == expected

    await until(reached)


# Rules


async def test_a_flooded_room_removes_nothing_of_others(open_log: Open) -> None:
    log = await open_log(rooms=(RoomRule("busy", max_messages=3),))
    await publish(log, "quiet", *["busy"] * 100, "quiet")
    await kept(log, [99, 100, 101], "busy")
    assert await retained(log, "quiet") == [1, 102]


async def test_the_first_rule_that_matches_holds_for_each_room_by_itself(open_log: Open) -> None:
    rules = (RoomRule("team/a", max_messages=2), RoomRule("team/*", max_messages=1))
    log = await open_log(rooms=rules)
    await publish(log, *["team/a", "team/b", "team/c", "other"] * 3)
    await kept(log, [5, 9], "team/a")
    await kept(log, [10], "team/b")
    await kept(log, [11], "team/c")
    assert await retained(log, "other") == [4, 8, 12]


async def test_a_room_keeps_no_more_bytes_than_its_rule(open_log: Open) -> None:
    log = await open_log(rooms=(RoomRule("a", max_bytes=10),))
    await publish(log, *["a"] * 5, body=b"1234")
    await kept(log, [4, 5], "a")
    assert (await log.bounds()).bytes == 8


async def test_losses_by_a_rule_are_told(open_log: Open) -> None:
    log = await open_log(rooms=(RoomRule("a", max_messages=2),))
    await publish(log, *["a", "b"] * 5)
    await kept(log, [7, 9], "a")
    assert told(await log.read(rooms("a", "b"), 0, 100), 0) == {"a": 3}
    assert told(await log.read(rooms("a"), 4, 100), 4) == {"a": 1}
    assert told(await log.read(rooms("a", "b"), 5, 100), 5) == {}
    assert told(await log.read(rooms("b"), 0, 100), 0) == {}


async def test_how_many_a_room_lost_by_its_rule_is_exact_however_much_lies_between(open_log: Open) -> None:
    log = await open_log(rooms=(RoomRule("a", max_messages=100),))
    for _ in range(10):
        await log.append([draft(room) for room in "abbb" * 25])
    await publish(log, "a")
    first = 4 * 151 + 1  # the oldest message of room a that is left
    await kept(log, [*range(first, 1_000, 4), 1_001], "a")
    for after in (0, 1, 2, 399, 400, 401, first - 5):
        lost = len(range(1, first, 4)) - len(range(1, after + 1, 4))
        assert told(await log.read(rooms("a"), after, 100), after) == {"a": lost}
        assert told(await log.read(Selection.of(prefixes=["a"]), after, 100), after) == {"a": lost}
    assert told(await log.read(rooms("a"), first - 4, 100), first - 4) == {}


async def test_the_caps_of_the_whole_log_stay_on_top(open_log: Open) -> None:
    log = await open_log(max_messages=4, rooms=(RoomRule("a", max_messages=2),))
    await publish(log, "b", "b", "a", "a", "a", "b", "b")
    await kept(log, [4, 5, 6, 7], "a", "b")


async def test_a_batch_larger_than_what_its_room_retains_is_refused_alone(open_log: Open) -> None:
    log = await open_log(rooms=(RoomRule("a", max_messages=2), RoomRule("b", max_bytes=5)))
    with pytest.raises(TooLarge, match="3 messages for a"):
        await log.append([draft("a"), draft("c"), draft("a"), draft("a")])
    with pytest.raises(TooLarge, match="6 bytes for b"):
        await log.append([draft("b", b"123"), draft("b", b"456")])
    assert seqs((await log.append([draft("a"), draft("c"), draft("a"), draft("c")])).messages) == [1, 2, 3, 4]


async def test_a_rule_removes_only_delivered_messages(open_log: Open) -> None:
    log = await open_log(rooms=(RoomRule("a", max_messages=1),))
    tail = log.consumer("test", 0)
    await publish(log, *["a"] * 10)
    assert await retained(log, "a") == list(range(1, 11))
    assert seqs(await take(tail, 10)) == list(range(1, 11))
    waiting = asyncio.ensure_future(next_batch(tail))  # this says that the last one is delivered
    await kept(log, [10], "a")
    cuts = (await waiting).cuts
    assert [cut.room for cut in cuts] == ["a"]


async def test_a_consumer_that_begins_before_messages_that_a_rule_removed_is_told_how_many(
    open_log: Open,
) -> None:
    log = await open_log(rooms=(RoomRule("a", max_messages=2),))
    await publish(log, *"bbaaaaab")
    await kept(log, [6, 7], "a")
    tail = log.consumer("test", 1)
    batch = await next_batch(tail)
    assert (seqs(batch.messages), batch.missed) == ([2, 6, 7, 8], 3)
    await publish(log, "b")
    assert (await next_batch(tail)).missed == 0


async def test_new_rules_are_reached_without_a_publish(open_log: Open) -> None:
    log = await open_log()
    await publish(log, *["a", "b"] * 20)
    log.prepare_rules(Retention(rooms=(RoomRule("a", max_messages=2),)))()
    await kept(log, [37, 39], "a")
    assert len(await retained(log, "b")) == 20


# Ages


async def test_messages_that_are_too_old_go_without_a_publish(open_log: Open, clock: list[int]) -> None:
    log = await open_log(rooms=(RoomRule("a", max_age=1.0),))
    await publish(log, "a", "b")
    clock[0] += 1
    await publish(log, "a")
    clock[0] += 1_000  # the second one is exactly as old as it may be
    await kept(log, [3], "a")
    clock[0] += 1
    await kept(log, [], "a")
    assert await retained(log, "b") == [2]
    assert told(await log.read(rooms("a"), 0, 100), 0) == {"a": 2}


async def test_an_age_of_the_log_holds_for_every_room(open_log: Open, clock: list[int]) -> None:
    log = await open_log(max_age=1.0)
    await publish(log, "a")
    clock[0] += 1
    await publish(log, "b")
    clock[0] += 1_000  # the second one is exactly as old as it may be
    await kept(log, [2], "a", "b")
    clock[0] += 1
    await kept(log, [], "a", "b")
    assert (await log.bounds())[2:] == (0, 0, 0)


async def test_age_removes_only_delivered_messages(open_log: Open, clock: list[int]) -> None:
    log = await open_log(max_age=1.0)
    tail = log.consumer("test", 0)
    await publish(log, "a", "a")
    assert seqs(await take(tail, 2)) == [1, 2]
    await publish(log, "b")
    clock[0] += 1_001
    assert await retained(log, "b") == [3]
    assert seqs((await next_batch(tail)).messages) == [3]
    await kept(log, [], "a")
    assert await retained(log, "b") == [3]


async def test_rooms_are_listed_with_the_age_of_their_oldest(open_log: Open, clock: list[int]) -> None:
    log = await open_log(rooms=(RoomRule("a", max_messages=2),))
    for _ in range(3):
        await publish(log, "a")
        clock[0] += 5
    await kept(log, [2, 3], "a")
    [room] = await listed(log)
    assert (room.messages, room.oldest_at, room.newest_at) == (2, 1_005, 1_010)


# Deletes


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


async def test_a_deletion_is_told_only_to_readers_from_before_it(log: Log) -> None:
    await publish(log, *["a", "b"] * 4)
    for seq in (3, 5):
        await log.delete(seq)
    assert told(await log.read(rooms("a", "b"), 1, 100), 1) == {"a": 2}
    assert told(await log.read(rooms("a", "b"), 4, 100), 4) == {"a": 1}
    assert told(await log.read(rooms("a", "b"), 5, 100), 5) == {}
    assert told(await log.read(rooms("b"), 0, 100), 0) == {}


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
