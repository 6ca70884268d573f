"""The promises of `log/base.py` about trimming and losses, on every backend."""

from __future__ import annotations

from collections import Counter

import pytest

from roomcast.log.base import Page
from tests.log.conftest import Open
from tests.log.steps import bounds, draft, publish, rooms, seqs, told, trimmed


async def test_the_oldest_messages_are_trimmed_when_there_are_too_many(open_log: Open) -> None:
    log = await open_log(max_messages=5)
    await publish(log, *"abcdefgh")
    await trimmed(log, 3)
    assert seqs((await log.read(rooms(*"abcdefgh"), 3, 100)).messages) == [4, 5, 6, 7, 8]
    assert await bounds(log) == (3, 8, 10)


@pytest.mark.not_on("mongodb", because="its cap by bytes counts BSON")
async def test_the_oldest_messages_are_trimmed_when_they_are_too_large(open_log: Open) -> None:
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
    """The count is not how many ids lie between, and not how many messages the room ever lost."""
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


async def test_a_replay_of_the_newest_retained_messages_tells_no_loss(open_log: Open) -> None:
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
