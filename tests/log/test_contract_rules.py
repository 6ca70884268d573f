"""The promises about rules and ages, on every backend that has them."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.log.base import Log
from roomcast.model.errors import TooLarge
from roomcast.model.retention import Retention, RoomRule
from roomcast.model.rooms import Selection
from tests.log.conftest import Open
from tests.log.steps import draft, kept, listed, next_batch, publish, retained, rooms, seqs, take, told

pytestmark = pytest.mark.not_on("mongodb", because="a capped collection keeps its own caps and deletes nothing")


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


async def test_messages_of_other_rooms_show_how_much_was_lost_before_a_time(
    open_log: Open, clock: list[int]
) -> None:
    log = await open_log(rooms=(RoomRule("a", max_messages=1),))
    for clock[0], room in [(1_000, "a"), (2_000, "a"), (3_000, "b"), (4_000, "a"), (5_000, "a")]:
        await publish(log, room)
    await kept(log, [5], "a")
    position = await log.seek_time(rooms("a"), 3_500)
    page = await log.read(rooms("a"), position, 100)
    assert (seqs(page.messages), told(page, position)) == ([5], {"a": 1})


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


@pytest.mark.parametrize(
    "retention",
    [Retention(max_age=3600.0), Retention(rooms=(RoomRule("a", max_age=3600.0),))],
    ids=["of the log", "of a room"],
)
async def test_one_walk_removes_all_messages_that_are_too_old(
    open_log: Open, clock: list[int], retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roomcast.log.sweep.MOST_PAUSE", 1_000.0)
    log = await open_log()
    for _ in range(3):
        await log.append([draft("a")] * 500)
    clock[0] += 3_600_001
    await publish(log, "a", "b")
    log.prepare_rules(retention)()
    await kept(log, [1501], "a")


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


async def test_new_rules_hold_for_what_is_published_later(log: Log) -> None:
    await publish(log, *"aab")
    log.prepare_rules(Retention(rooms=(RoomRule("a", max_messages=1), RoomRule("b", max_bytes=4))))()
    await kept(log, [2], "a")
    await publish(log, *"abbab")
    await kept(log, [7], "a")
    await kept(log, [6, 8], "b")
