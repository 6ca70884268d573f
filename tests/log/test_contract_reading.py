"""The promises of `log/base.py` about reading, by name and by prefix, on every backend."""

from __future__ import annotations

from itertools import count

import pytest

from roomcast.log.base import Log, Page, RoomSort, RoomStats
from roomcast.model.rooms import Selection
from tests.log.conftest import Open
from tests.log.steps import draft, listed, publish, rooms, seqs, told, trimmed


async def test_a_page_merges_rooms_in_order_of_ids(log: Log) -> None:
    stored = await publish(log, "a", "b", "c", "a", "b", "c", "a")
    page = await log.read(rooms("a", "c", "unknown"), 0, 100)
    assert page == Page([m for m in stored if m.room != "b"], 7, [])


async def test_a_page_has_at_most_its_limit_and_the_next_one_continues_it(log: Log) -> None:
    await publish(log, *"abcabcabc")
    first = await log.read(rooms("a", "b"), 0, 4)
    assert (seqs(first.messages), first.position) == ([1, 2, 4, 5], 5)
    rest = await log.read(rooms("a", "b"), first.position, 4)
    assert (seqs(rest.messages), rest.position) == ([7, 8], 9)


async def test_a_page_ends_before_the_given_seq(log: Log) -> None:
    await publish(log, *"ababab")
    page = await log.read(rooms("a"), 1, 100, before=5)
    assert (seqs(page.messages), page.position) == ([3], 4)


@pytest.mark.parametrize(("after", "before", "position"), [(3, None, 3), (9, None, 3), (2, 2, 2), (0, 99, 3)])
async def test_an_empty_page_has_a_position_too(log: Log, after: int, before: int | None, position: int) -> None:
    await publish(log, *"bbb")
    assert await log.read(rooms("a"), after, 10, before) == Page([], position, [])


async def test_a_page_is_bounded_by_its_bytes_but_never_empty(log: Log) -> None:
    await log.append([draft(body=b"x" * 60_000)] * 10)
    page = await log.read(rooms("a"), 0, 1_000)
    assert 256 * 1024 <= sum(len(m.body) for m in page.messages) < 256 * 1024 + 60_000
    assert page.position == page.messages[-1].seq
    await log.append([draft("b", body=b"x" * 600_000)])
    assert len((await log.read(rooms("b"), 0, 0)).messages) == 1


async def test_sixty_four_rooms_are_read_as_one(log: Log) -> None:
    names = [f"r{n}" for n in range(64)]
    await publish(log, *names, "other", *names)
    page = await log.read(Selection.of(names), 10, 1_000)
    assert seqs(page.messages) == [*range(11, 65), *range(66, 130)]
    assert await log.seek_newest(Selection.of(names), 65) == 63


async def test_a_follower_from_the_future_is_told_where_the_log_is(log: Log) -> None:
    await publish(log, "a")
    assert await log.read(rooms("a"), 50, 10) == Page([], 1, [])


async def test_the_newest_messages_begin_after_a_position(log: Log) -> None:
    await publish(log, *"abaabb")
    assert await log.seek_newest(rooms("a"), 2) == 2
    assert await log.seek_newest(rooms("a", "b"), 2) == 4
    assert await log.seek_newest(rooms("a"), 2, before=4) == 0
    assert await log.seek_newest(rooms("a"), 99) == 0
    assert await log.seek_newest(rooms("a"), 0) == 6
    assert await log.seek_newest(rooms("unknown"), 5) == 6
    assert await log.seek_newest(rooms("unknown"), 5, before=3) == 2


async def test_nothing_is_before_the_first_position(log: Log) -> None:
    await publish(log, "a", "b")
    for before in (0, 1):
        assert await log.seek_newest(rooms("a"), 5, before=before) == 0
        assert await log.read(rooms("a", "b"), 0, 5, before) == Page([], 0, [])


async def test_messages_stored_since_a_time_begin_after_a_position(log: Log, clock: list[int]) -> None:
    for clock[0] in (1_000, 2_000, 2_000, 3_000):
        await publish(log, "a")
    for since, position in {0: 0, 1_000: 0, 1_001: 1, 2_000: 1, 2_001: 3, 3_000: 3, 3_001: 4}.items():
        assert await log.seek_time(rooms("a"), since) == position


async def test_the_rooms_are_listed_by_name_while_they_have_messages(open_log: Open, clock: list[int]) -> None:
    log = await open_log(max_messages=3)
    for clock[0], room in zip(count(1_000), "abcba", strict=False):
        await publish(log, room)
    await trimmed(log, 2)
    assert await listed(log) == [
        RoomStats("a", 1, 5, 1_004),
        RoomStats("b", 1, 4, 1_003),
        RoomStats("c", 1, 3, 1_002),
    ]
    await publish(log, "a", "a")
    await trimmed(log, 4)
    assert [stats.room for stats in await listed(log)] == ["a"]


NAMES = [
    "",
    "a",
    "a/",
    "a/1",
    "a/\u2028",
    "a/ü",
    "a/\ud7ff",
    "a/\ue000",
    "a/🚀",
    "a/\U0010ffff",
    "a0",
    "b",
    "ab",
    "A/1",
]
PREFIXES = ["", "a", "a/", "a/\ud7ff", "a/\U0010ffff", "\U0010ffff", "A", "zz", "a/1", "a/🚀"]


@pytest.mark.parametrize("limit", [1, 3, 1_000])
async def test_pages_of_rooms_have_each_room_of_a_prefix_once_in_their_order(log: Log, limit: int) -> None:
    stored = await publish(log, *NAMES, *NAMES[3:9:2], "a")
    newest = {message.room: message.seq for message in stored}
    for prefix in PREFIXES:
        names = sorted(name for name in newest if name.startswith(prefix))
        assert [stats.room for stats in await listed(log, prefix, "name", limit)] == names
        names.sort(key=newest.__getitem__, reverse=True)
        assert [stats.room for stats in await listed(log, prefix, "newest", limit)] == names


async def test_a_page_of_rooms_begins_anywhere(log: Log) -> None:
    await publish(log, *"abcd", "b")

    async def names(sort: RoomSort, after: str | int) -> list[str]:
        return [stats.room for stats in await log.rooms("", sort, after, 2)]

    assert await names("name", "") == ["a", "b"]
    assert await names("name", "aa") == ["b", "c"]
    assert await names("name", "d") == []
    assert await names("newest", 99) == ["b", "d"]
    assert await names("newest", 5) == ["d", "c"]
    assert await names("newest", 2) == ["a"]
    assert await names("newest", 0) == []
    assert await log.rooms("", "newest", None, 1) == await log.rooms("b", "name", "a", 1)


# By prefix


def by_prefix(*prefixes: str, rooms: tuple[str, ...] = ()) -> Selection:
    return Selection.of(rooms, prefixes)


async def test_rooms_are_read_by_the_prefix_of_their_names(log: Log) -> None:
    await publish(log, "a/1", "b", "a/2", "a", "a/1", "a0")
    page = await log.read(by_prefix("a/"), 0, 100)
    assert (seqs(page.messages), page.position, page.losses) == ([1, 3, 5], 6, [])
    assert seqs((await log.read(by_prefix("a/"), 1, 1)).messages) == [3]
    assert seqs((await log.read(by_prefix("a/"), 1, 100, before=5)).messages) == [3]
    assert seqs((await log.read(by_prefix(""), 2, 100)).messages) == [3, 4, 5, 6]
    assert (await log.read(by_prefix("x"), 0, 100)).position == 6


async def test_rooms_are_read_by_several_prefixes(log: Log) -> None:
    await publish(log, "a/1", "b/1", "c/1", "a/2", "d", "b/2")
    several = by_prefix("a/", "b/", "x/", rooms=("d",))
    assert seqs((await log.read(several, 0, 100)).messages) == [1, 2, 4, 5, 6]
    assert await log.seek_newest(several, 4) == 1


async def test_a_message_is_read_once_however_often_it_is_matched(log: Log) -> None:
    await publish(log, *"abcab")
    assert seqs((await log.read(by_prefix("a", "", rooms=("a", "c")), 0, 100)).messages) == [1, 2, 3, 4, 5]
    assert seqs((await log.read(by_prefix("a", rooms=("a", "c")), 0, 100)).messages) == [1, 3, 4]
    assert await log.seek_newest(by_prefix("a", rooms=("a", "c")), 2) == 2


async def test_the_newest_by_prefix_begin_after_a_position(log: Log) -> None:
    await publish(log, "a/1", "b", "a/2", "a/1", "b")
    assert [await log.seek_newest(by_prefix("a/"), count) for count in (0, 1, 2, 3, 9)] == [5, 3, 2, 0, 0]
    assert await log.seek_newest(by_prefix("a/"), 1, before=4) == 2
    assert await log.seek_newest(by_prefix("x"), 3) == 5


@pytest.mark.parametrize("number", [65, 300])
async def test_many_rooms_are_read_by_prefix_as_one(log: Log, number: int) -> None:
    await log.append([draft(f"r{n}") for n in range(number)])
    await publish(log, "other", "r1", "r2")
    page = await log.read(by_prefix("r"), 10, 1_000)
    assert seqs(page.messages) == [*range(11, number + 1), number + 2, number + 3]
    assert await log.seek_newest(by_prefix("r"), 4) == number - 2
    assert seqs((await log.read(by_prefix("r"), 10, 5)).messages) == [*range(11, 16)]
    assert seqs((await log.read(by_prefix("r", "o"), number - 1, 9)).messages) == [*range(number, number + 4)]
    assert await log.seek_newest(by_prefix("r", "o"), 4) == number - 1


async def test_losses_by_prefix_are_told_for_each_room(open_log: Open) -> None:
    log = await open_log(max_messages=3)
    await publish(log, "a/1", "a/2", "b", "a/1", "b")
    await trimmed(log, 2)
    assert told(await log.read(by_prefix("a/"), 0, 100), 0) == {"a/1": 1, "a/2": 1}
    assert told(await log.read(by_prefix("a/"), 1, 100), 1) == {"a/2": 1}
    assert told(await log.read(by_prefix("a/"), 2, 100), 2) == {}
    assert told(await log.read(by_prefix("a/1", rooms=("b",)), 0, 100), 0) == {"a/1": 1}
    assert told(await log.read(by_prefix("a/1", "b"), 0, 100), 0) == {"a/1": 1}


async def test_losses_of_forgotten_rooms_are_told_without_their_names(open_log: Open) -> None:
    log = await open_log(max_messages=1, empty_rooms=1)
    for seq in range(6):
        await publish(log, f"r{seq}")
        await trimmed(log, seq)
    assert "" in told(await log.read(by_prefix("r"), 0, 100), 0)
    assert "" not in told(await log.read(by_prefix("r"), 4, 100), 4)
    assert "" not in told(await log.read(rooms("r0"), 0, 100), 0)


async def test_any_number_of_rooms_is_read_by_name(open_log: Open, clock: list[int]) -> None:
    log = await open_log()
    many = Selection(frozenset(f"room {number}" for number in range(300)))
    for clock[0], room in [(1_000, "room 0"), (2_000, "another"), (3_000, "room 299"), (4_000, "room 7")]:
        await publish(log, room)
    page = await log.read(many, 0, 2)
    assert (seqs(page.messages), page.position, page.losses) == ([1, 3], 3, [])
    page = await log.read(many, 3, 10)
    assert (seqs(page.messages), page.position) == ([4], 4)
    assert seqs((await log.read(many, 0, 10, before=4)).messages) == [1, 3]
    assert await log.seek_newest(many, 2) == 2
    assert await log.seek_newest(many, 9, before=4) == 0
    assert 1 <= await log.seek_time(many, 2_500) < 3
