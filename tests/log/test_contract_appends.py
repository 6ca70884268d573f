"""The promises of `log/base.py` about appends and idempotency keys, on every backend."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.log.base import Log
from roomcast.model.errors import KeyReused, TooLarge
from tests.log.conftest import Open
from tests.log.steps import bounds, draft, everything, key, publish, seqs

STRANGE = ['"quoted"', "Zürich\u2028", "a'; --", "🚀", "\\u0000", "%s {0}", "[1]"]


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
async def test_messages_are_read_as_they_were_stored(log: Log) -> None:
    bodies = [bytes(range(256)), b"", b"\x00", '{"text":"ü"}'.encode(), b"\xff" * 70_000]
    drafts = [draft(room, body, type_) for room in STRANGE for body in bodies for type_ in (None, "typ")]
    stored = (await log.append(drafts)).messages
    assert [(m.room, m.type, m.body) for m in stored] == [tuple(d) for d in drafts]
    for room in STRANGE:
        messages = await everything(log, room)
        assert messages == [m for m in stored if m.room == room]


async def test_times_never_decrease_when_the_clock_is_set_back(log: Log, clock: list[int]) -> None:
    times = []
    for clock[0] in (5_000, 3_000, 6_000):
        times += [m.stored_at for m in await publish(log, "a")]
    assert times == [5_000, 5_000, 6_000]


async def test_a_clock_far_behind_the_newest_message_is_logged_once_with_what_to_do(
    log: Log, clock: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    said = []
    for clock[0] in (9_000_000, 8_940_000, 8_939_000, 8_000_000, 9_000_000, 8_000_000):
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


async def test_a_key_is_distinct_in_each_scope(log: Log) -> None:
    names = [(name, scope) for name in ("k", "K", "k ", '"k"') for scope in ("", "k")]
    answers = [await log.append([draft()], key(name, scope=scope)) for name, scope in names]
    assert [seqs(answer.messages) for answer in answers] == [[n] for n in range(1, 9)]


@pytest.mark.not_on("mongodb", because="there a key goes with its message")
async def test_a_key_is_kept_for_ten_minutes_if_its_message_is_trimmed_sooner(
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
