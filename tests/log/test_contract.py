"""What every backend promises (`log/base.py`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count

import pytest

from roomcast.log import clock as machine
from roomcast.log import consumers as feeding
from roomcast.log.base import Log, Page, RoomSort, RoomStats
from roomcast.model.errors import KeyReused, LogUnavailable, TooLarge
from roomcast.model.message import Message
from roomcast.model.rooms import Selection
from tests.log.acting import (
    bounds,
    draft,
    key,
    listed,
    next_batch,
    publish,
    rooms,
    seqs,
    take,
    told,
    trimmed,
)
from tests.log.conftest import Open

STRANGE = ['"quoted"', "Zürich\u2028", "a'; --", "🚀", "\\u0000", "%s {0}", "[1]"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in ms, as its one entry."""
    time = [1_000]
    monkeypatch.setattr(machine, "clock", lambda: time[0] * 1_000_000)
    return time


# Storing


async def test_ids_grow_by_one_over_all_rooms(log: Log) -> None:
    assert seqs(await publish(log, "a", "b", "a", "c")) == [1, 2, 3, 4]


async def test_a_batch_has_consecutive_ids_in_its_order(log: Log) -> None:
    await publish(log, "a")
    appended = await log.append([draft("b", b"1"), draft("a", b"2", "note"), draft("b", b"3")])
    assert not appended.repeated
    assert [(m.seq, m.room, m.type, m.body, m.prev) for m in appended.messages] == [
        (2, "b", None, b"1", 0),
        (3, "a", "note", b"2", 1),
        (4, "b", None, b"3", 2),
    ]


async def test_concurrent_batches_do_not_mix(log: Log) -> None:
    batches = await asyncio.gather(*(log.append([draft(f"r{n}")] * 7) for n in range(20)))
    for batch in batches:
        first = batch.messages[0].seq
        assert seqs(batch.messages) == list(range(first, first + 7))
        assert [m.prev for m in batch.messages] == [0, *range(first, first + 6)]
    assert await bounds(log) == (0, 140, 280)


@pytest.mark.not_on("ferretdb", because="it reads the whole collection for each page, which takes 30 s")
async def test_what_was_stored_is_what_is_read(log: Log) -> None:
    bodies = [bytes(range(256)), b"", b"\x00", '{"text":"ü"}'.encode(), b"\xff" * 70_000]
    drafts = [draft(room, body, type_) for room in STRANGE for body in bodies for type_ in (None, "typ")]
    stored = (await log.append(drafts)).messages
    assert [(m.room, m.type, m.body) for m in stored] == [tuple(d) for d in drafts]
    for room in STRANGE:
        messages = await everything(log, room)
        assert messages == [m for m in stored if m.room == room]


async def everything(log: Log, *names: str) -> list[Message]:
    """All messages of some rooms, page by page."""
    messages: list[Message] = []
    position = 0
    while position < (await log.bounds()).newest:
        page = await log.read(rooms(*names), position, 100)
        messages += page.messages
        position = page.position
    return messages


async def test_times_never_fall_when_the_clock_is_set_back(log: Log, clock: list[int]) -> None:
    times = []
    for clock[0] in (5_000, 3_000, 6_000):
        times += [m.stored_at for m in await publish(log, "a")]
    assert times == [5_000, 5_000, 6_000]


async def test_a_clock_far_behind_the_newest_message_is_said_once_and_what_to_do(
    log: Log, clock: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    said = []
    for clock[0] in (9_000_000, 8_950_000, 8_939_000, 8_000_000, 9_000_000, 8_000_000):
        assert (await publish(log, "a"))[0].stored_at == 9_000_000
        said.append(sum("--new-epoch" in record.message for record in caplog.records))
    assert said == [0, 0, 1, 1, 1, 2]
    assert "clock says 1970-01-01T02:28:59.000Z" in caplog.text
    assert "newest message is from 1970-01-01T02:30:00.000Z, 0:01:01 later" in caplog.text


async def test_a_batch_larger_than_the_retention_is_refused_alone(open_log: Open) -> None:
    log = await open_log(max_messages=3, max_bytes=10)
    many, long, fitting = await asyncio.gather(
        log.append([draft(body=b"")] * 4),
        log.append([draft(body=b"x" * 11)]),
        log.append([draft(body=b"x" * 10)]),
        return_exceptions=True,
    )
    assert isinstance(many, TooLarge)
    assert isinstance(long, TooLarge)
    assert not isinstance(fitting, BaseException)
    assert seqs(fitting.messages) == [1]


async def test_an_append_of_nothing_stores_nothing(log: Log) -> None:
    assert await log.append([], key("k")) == ([], False)
    assert await bounds(log) == (0, 0, 0)


async def test_cancelling_an_append_leaves_the_others_alone(log: Log) -> None:
    appends = [log.append([draft()]) for _ in range(10)]
    await asyncio.sleep(0)
    appends[3].cancel()
    done = await asyncio.gather(*appends, return_exceptions=True)
    stored = [m for answer in done if not isinstance(answer, BaseException) for m in answer.messages]
    assert len(stored) >= 9
    assert {*seqs(stored)} <= {*seqs(await everything(log, "a"))}
    assert seqs(await publish(log, "a")) == [(await log.bounds()).newest]


# Idempotency keys


async def test_the_same_key_and_request_again_stores_nothing(log: Log) -> None:
    first = await log.append([draft("a"), draft("b")], key("k"))
    await publish(log, "a")
    again = await log.append([draft("a"), draft("b")], key("k"))
    assert (list(again.messages), again.repeated) == (list(first.messages), True)
    assert (await log.bounds()).newest == 3


async def test_the_same_key_with_another_request_is_refused(log: Log) -> None:
    await log.append([draft()], key("k"))
    with pytest.raises(KeyReused):
        await log.append([draft()], key("k", b"another"))
    assert (await log.bounds()).newest == 1


async def test_two_appends_with_one_key_at_one_moment_store_one(log: Log) -> None:
    answers = await asyncio.gather(*(log.append([draft(), draft()], key("k")) for _ in range(5)))
    assert [answer.repeated for answer in answers] == [False, True, True, True, True]
    assert {tuple(seqs(answer.messages)) for answer in answers} == {(1, 2)}


async def test_a_refused_key_fails_only_its_own_append(log: Log) -> None:
    mine, other, plain = await asyncio.gather(
        log.append([draft()], key("k", b"1")),
        log.append([draft()], key("k", b"2")),
        log.append([draft()]),
        return_exceptions=True,
    )
    assert isinstance(other, KeyReused)
    assert not isinstance(mine, BaseException)
    assert not isinstance(plain, BaseException)
    assert seqs(mine.messages) + seqs(plain.messages) == [1, 2]


async def test_a_key_stands_for_itself_in_its_scope(log: Log) -> None:
    names = [(name, scope) for name in ("k", "K", "k ", '"k"') for scope in ("", "k")]
    answers = [await log.append([draft()], key(name, scope=scope)) for name, scope in names]
    assert [seqs(answer.messages) for answer in answers] == [[n] for n in range(1, 9)]


@pytest.mark.not_on("mongodb", because="there a key goes with its message")
async def test_a_key_is_kept_for_ten_minutes_where_its_message_is_trimmed_sooner(
    open_log: Open, clock: list[int]
) -> None:
    log = await open_log(max_messages=2)
    first = (await log.append([draft(body=b"1"), draft("b", b"2")], key("k"))).messages
    for clock[0] in (2_000, 300_000, 600_999):
        await publish(log, "a", "a")
        again = await log.append([draft(body=b"1"), draft("b", b"2")], key("k"))
        assert again.repeated
        assert [m[:4] + m[5:] for m in again.messages] == [m[:4] + m[5:] for m in first]
    with pytest.raises(KeyReused):
        await log.append([draft()], key("k", b"another"))
    clock[0] = 601_000
    fresh = await log.append([draft()], key("k", b"another"))
    assert (seqs(fresh.messages), fresh.repeated) == ([9], False)
    assert (await log.append([draft()], key("k", b"another"))).repeated


async def test_a_key_lives_as_long_as_its_first_message(log: Log, clock: list[int]) -> None:
    await log.append([draft()], key("k"))
    clock[0] = 10**9
    assert (await log.append([draft()], key("k"))).repeated


# Reading


async def test_a_page_merges_rooms_in_order_of_ids(log: Log) -> None:
    stored = await publish(log, "a", "b", "c", "a", "b", "c", "a")
    page = await log.read(rooms("a", "c", "unknown"), 0, 100)
    assert page == Page([m for m in stored if m.room != "b"], 7, [])


async def test_a_page_has_at_most_its_limit_and_goes_on_without_a_seam(log: Log) -> None:
    await publish(log, *"abcabcabc")
    first = await log.read(rooms("a", "b"), 0, 4)
    assert (seqs(first.messages), first.position) == ([1, 2, 4, 5], 5)
    rest = await log.read(rooms("a", "b"), first.position, 4)
    assert (seqs(rest.messages), rest.position) == ([7, 8], 9)


async def test_a_page_ends_before_what_it_is_told(log: Log) -> None:
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


# Trimming, and what is lost by it


async def test_the_oldest_messages_go_when_there_are_too_many(open_log: Open) -> None:
    log = await open_log(max_messages=5)
    await publish(log, *"abcdefgh")
    await trimmed(log, 3)
    assert seqs((await log.read(rooms(*"abcdefgh"), 3, 100)).messages) == [4, 5, 6, 7, 8]
    assert await bounds(log) == (3, 8, 10)


@pytest.mark.not_on("mongodb", because="its cap by bytes counts BSON")
async def test_the_oldest_messages_go_when_they_are_too_large(open_log: Open) -> None:
    log = await open_log(max_bytes=100)
    await publish(log, *"abcd", body=b"x" * 30)
    await trimmed(log, 1)
    assert await bounds(log) == (1, 4, 90)
    await log.append([draft("e", b"x" * 100)])
    await trimmed(log, 4)
    assert await bounds(log) == (4, 5, 100)


async def test_a_resume_after_trimming_says_what_was_lost(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    await publish(log, *"aaaaa")
    await trimmed(log, 3)
    for after, lost in {0: {"a": 3}, 1: {"a": 2}, 2: {"a": 1}, 3: {}, 4: {}}.items():
        page = await log.read(rooms("a"), after, 100)
        assert told(page, after) == lost
        assert page.messages[0].seq == max(4, after + 1)


async def test_a_quiet_room_beside_a_busy_one_hears_no_false_alarm(open_log: Open) -> None:
    log = await open_log(max_messages=10)
    await publish(log, "quiet", *["busy"] * 4, "quiet", *["busy"] * 9)
    await trimmed(log, 5)
    page = await log.read(rooms("quiet"), 0, 100)
    assert (seqs(page.messages), page.position, told(page, 0)) == ([6], 15, {"quiet": 1})
    for after in (1, 3, 5, 6, 15):
        assert (await log.read(rooms("quiet"), after, 100)).losses == []
    assert told(await log.read(rooms("quiet", "busy", "unknown"), 1, 100), 1) == {"busy": 4}


async def test_a_room_that_lost_everything_says_so(open_log: Open) -> None:
    log = await open_log(max_messages=3)
    await publish(log, *"aabbb")
    await trimmed(log, 2)
    for after in (0, 1):
        page = await log.read(rooms("a"), after, 100)
        assert (page.messages, page.position, told(page, after)) == ([], 5, {"a": 2 - after})
    assert await log.read(rooms("a"), 2, 100) == Page([], 5, [])
    [message] = await publish(log, "a")
    assert message.prev == 2
    assert (await log.read(rooms("a"), 2, 100)).losses == []


async def test_how_many_of_a_room_are_lost_is_exact_from_any_position(open_log: Open) -> None:
    """Not how many ids lie between, and not how many the room ever lost."""
    log = await open_log(max_messages=4)
    names = "abbbacbbabbbcbbabbbb"
    await publish(log, *names)
    await trimmed(log, 16)
    for after in range(17):
        gone = Counter(names[after:16])
        for room in "abc":
            expected = {room: gone[room]} if gone[room] else {}
            assert told(await log.read(rooms(room), after, 100), after) == expected
        assert told(await log.read(rooms("a", "c"), after, 100), after) == {
            room: count for room, count in gone.items() if room != "b"
        }


async def test_a_page_that_ends_early_counts_only_what_was_lost_in_it(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    await publish(log, *"aaaaa")
    await trimmed(log, 3)
    page = await log.read(rooms("a"), 0, 10, before=3)
    assert (page.messages, page.position, told(page, 0)) == ([], 2, {"a": 2})
    assert await log.read(rooms("a"), 1, 10, before=2) == Page([], 1, [])
    assert told(await log.read(rooms("a"), 0, 10, before=5), 0) == {"a": 3}


async def test_seeking_a_time_that_is_no_longer_retained_says_what_was_lost(
    open_log: Open, clock: list[int]
) -> None:
    log = await open_log(max_messages=2)
    for clock[0], room in [(1_000, "a"), (2_000, "b"), (3_000, "a"), (4_000, "a")]:
        await publish(log, room)
    await trimmed(log, 2)
    for names, since, lost in [
        ("ab", 0, {"a": 1, "b": 1}),
        ("ab", 1_500, {"b": 1}),
        ("a", 1_500, {}),
        ("ab", 3_500, {}),
    ]:
        position = await log.seek_time(rooms(*names), since)
        page = await log.read(rooms(*names), position, 100)
        assert told(page, position) == lost
        assert seqs(page.messages) == ([4] if since == 3_500 else [3, 4])


async def test_the_newest_of_what_is_retained_is_no_loss(open_log: Open) -> None:
    log = await open_log(max_messages=3)
    await publish(log, *"aabab")
    await trimmed(log, 2)
    position = await log.seek_newest(rooms("a"), 100)
    assert (await log.read(rooms("a"), position, 100)).losses == []


async def test_a_forgotten_room_may_alarm_falsely_but_is_never_silent(open_log: Open) -> None:
    log = await open_log(max_messages=1, empty_rooms=2)
    names = [f"r{n}" for n in range(10)]
    for n, name in enumerate(names):
        await publish(log, name)
        await trimmed(log, n)
    await publish(log, "last", "last")
    await trimmed(log, 11)
    for seq, name in enumerate(names, 1):
        lost = told(await log.read(rooms(name), seq - 1, 10), seq - 1)
        assert lost[name] >= 1
    for name in names[-2:]:
        assert (await log.read(rooms(name), 10, 10)).losses == []
    assert told(await log.read(rooms("never"), 0, 10), 0) == {"never": 8}
    assert (await log.read(rooms("never"), 8, 10)).losses == []
    assert await log.seek_time(rooms("never"), 0) < 8


async def test_a_room_that_comes_back_after_it_was_forgotten_begins_at_the_watermark(open_log: Open) -> None:
    log = await open_log(max_messages=1, empty_rooms=0)
    await publish(log, "a", "b")
    await trimmed(log, 1)
    await publish(log, "b")
    await trimmed(log, 2)
    [message] = await publish(log, "a")
    assert message.prev == 1
    assert told(await log.read(rooms("a"), 0, 10), 0) == {"a": 1}
    assert (await log.read(rooms("a"), 1, 10)).losses == []


# By prefix


def by_prefix(*prefixes: str, rooms: tuple[str, ...] = ()) -> Selection:
    return Selection.of(rooms, prefixes)


async def test_rooms_are_read_by_what_their_names_begin_with(log: Log) -> None:
    await publish(log, "a/1", "b", "a/2", "a", "a/1", "a0")
    page = await log.read(by_prefix("a/"), 0, 100)
    assert (seqs(page.messages), page.position, page.losses) == ([1, 3, 5], 6, [])
    assert seqs((await log.read(by_prefix("a/"), 1, 1)).messages) == [3]
    assert seqs((await log.read(by_prefix("a/"), 1, 100, before=5)).messages) == [3]
    assert seqs((await log.read(by_prefix(""), 2, 100)).messages) == [3, 4, 5, 6]
    assert (await log.read(by_prefix("x"), 0, 100)).position == 6


async def test_a_message_is_read_once_however_often_it_is_matched(log: Log) -> None:
    await publish(log, *"abcab")
    assert seqs((await log.read(by_prefix("a", "", rooms=("a", "c")), 0, 100)).messages) == [1, 2, 3, 4, 5]
    assert seqs((await log.read(by_prefix("a", rooms=("a", "c")), 0, 100)).messages) == [1, 3, 4]


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


async def test_what_is_lost_by_prefix_is_told_for_each_room(open_log: Open) -> None:
    log = await open_log(max_messages=3)
    await publish(log, "a/1", "a/2", "b", "a/1", "b")
    await trimmed(log, 2)
    assert told(await log.read(by_prefix("a/"), 0, 100), 0) == {"a/1": 1, "a/2": 1}
    assert told(await log.read(by_prefix("a/"), 1, 100), 1) == {"a/2": 1}
    assert told(await log.read(by_prefix("a/"), 2, 100), 2) == {}
    assert told(await log.read(by_prefix("a/1", rooms=("b",)), 0, 100), 0) == {"a/1": 1}


async def test_what_is_lost_of_rooms_that_are_forgotten_is_told_without_their_names(open_log: Open) -> None:
    log = await open_log(max_messages=1, empty_rooms=1)
    for seq in range(6):
        await publish(log, f"r{seq}")
        await trimmed(log, seq)
    assert "" in told(await log.read(by_prefix("r"), 0, 100), 0)
    assert "" not in told(await log.read(by_prefix("r"), 4, 100), 4)
    assert "" not in told(await log.read(rooms("r0"), 0, 100), 0)


# The tail


async def test_the_tail_brings_history_and_then_what_comes(log: Log) -> None:
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


async def test_the_tail_brings_each_message_once_and_in_order_under_load(log: Log) -> None:
    tail = log.consumer("test", 0)
    follower = asyncio.create_task(take(tail, 400))

    async def publisher(room: str) -> None:
        for _ in range(20):
            await log.append([draft(room), draft("all")])

    await asyncio.gather(*(publisher(f"r{n}") for n in range(10)))
    assert seqs(await follower) == list(range(1, 401))


async def test_the_tail_is_woken_before_the_publisher_is_answered(log: Log) -> None:
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
async def test_what_the_tail_was_not_asked_past_is_kept(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    tail = log.consumer("test", 0)
    await publish(log, *"aaaaaa")
    assert seqs(await take(tail, 6)) == [1, 2, 3, 4, 5, 6]
    await publish(log, "a")
    assert (await log.bounds()).trimmed == 0
    assert seqs((await next_batch(tail)).messages) == [7]
    await trimmed(log, 5)


async def test_the_tail_tells_how_far_the_log_is_trimmed(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    tail = log.consumer("test", 0)
    await publish(log, *"aaaa")
    await take(tail, 4)
    batch = await next_batch(tail)
    assert (batch.messages, batch.trimmed, batch.missed) == ((), 2, 0)


@pytest.mark.not_on("mongodb", because="the collection trims itself, for all processes")
async def test_without_a_tail_nothing_holds_trimming_back(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    tail = log.consumer("test", 0)
    await publish(log, *"aaaa")
    assert (await log.bounds()).trimmed == 0
    await tail.aclose()
    await trimmed(log, 2)
    with pytest.raises(StopAsyncIteration):
        await next_batch(tail)


async def test_a_tail_that_begins_before_what_is_retained_goes_on_where_that_begins(open_log: Open) -> None:
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


async def test_the_positions_of_consumers_are_told_by_their_names(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setattr(feeding, "NAMED", 1)
    assert log.positions() == {"twice": 2}


async def test_a_consumer_that_is_behind_goes_on_from_the_log(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "RECENT_BYTES", 40)
    fast, slow = log.consumer("fast", 0), log.consumer("slow", 0)
    for n in range(1, 51):
        await publish(log, "a")
        assert seqs(await take(fast, 1)) == [n]
    assert seqs(await take(slow, 50)) == list(range(1, 51))


@pytest.mark.not_on("mongodb", because="the collection trims itself, for all processes")
async def test_the_slowest_of_those_that_hold_the_log_decides_what_is_trimmed(open_log: Open) -> None:
    log = await open_log(max_messages=2)
    fast, slow, careless = log.consumer("fast", 0), log.consumer("slow", 0), log.consumer("c", 0, holds=False)
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
    del careless


@pytest.mark.not_on("mongodb", because="the collection trims itself, for all processes")
async def test_a_consumer_that_does_not_hold_the_log_is_told_what_it_missed(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "RECENT_BYTES", 1)
    log = await open_log(max_messages=2)
    careless = log.consumer("careless", 0, holds=False)
    await publish(log, *"aaaaaa")
    await trimmed(log, 4)
    batch = await next_batch(careless)
    assert (seqs(batch.messages), batch.missed) == ([5, 6], 4)


@pytest.mark.not_on("mongodb", because="the collection trims itself, for all processes")
async def test_a_consumer_that_stands_still_holds_back_trimming_for_a_while_only(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(feeding, "STILL_SECONDS", 0.05)
    monkeypatch.setattr(feeding, "RECENT_BYTES", 1)
    log = await open_log(max_messages=2)
    still, other = log.consumer("still", 0), log.consumer("other", 6, holds=False)
    await publish(log, *"aaaaaa")
    while (await next_batch(other)).trimmed < 4:  # consumers hear of it a moment after readers see it
        pass
    batch = await next_batch(still)
    assert (seqs(batch.messages), batch.missed) == ([5, 6], 4)
    moving = asyncio.create_task(next_batch(still))  # and from now on it holds again
    await publish(log, "a")
    assert (await moving).missed == 0


async def test_cancelling_who_waits_on_the_tail_loses_nothing(log: Log) -> None:
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


async def test_closing_the_log_ends_its_tail(log: Log) -> None:
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
