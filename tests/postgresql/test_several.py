"""Several servers on one database, as logs in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise

import asyncpg
import pytest

from roomcast.log import clock as machine
from roomcast.log import consumers as feeding
from roomcast.log.base import Log
from roomcast.log.postgresql.log import PostgresLog
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.model.errors import KeyReused
from roomcast.model.message import Message
from roomcast.model.retention import Retention
from tests.log.steps import draft, key, next_batch, publish, rooms, seqs, take, told, until
from tests.postgresql.calls import Calls
from tests.postgresql.conftest import Open

QUICK = PostgresTuning(deaf_poll=0.05)


async def deafen(log: PostgresLog) -> None:
    """The log receives no notification from now on."""
    log._tail._session._on_notification = None
    await log._tail._session.drop()


async def until_acquainted(*logs: PostgresLog) -> None:
    """Waits until each log knows that it is not the only one."""

    async def acquainted() -> bool:
        return not any(log._tail.alone for log in logs)

    await until(acquainted)


@pytest.mark.parametrize("deaf", [False, True], ids=["notified", "polling"])
async def test_messages_of_all_servers_are_dense_and_each_follower_gets_each_of_them_once(
    open_log: Open, deaf: bool
) -> None:
    logs = [await open_log(tuning=QUICK) for _ in range(3)]
    if deaf:
        for log in logs:
            await deafen(log)
    tails = [asyncio.create_task(take(log.consumer("test", 0), 900)) for log in logs]

    async def publisher(log: Log, room: str) -> list[Message]:
        return [
            m for _ in range(20) for m in (await log.append([draft(room), draft("all"), draft(room)])).messages
        ]

    stored = await asyncio.gather(*(publisher(log, f"r{n % 4}") for n in range(5) for log in logs))
    everything = sorted((m for messages in stored for m in messages), key=lambda m: m.seq)
    assert seqs(everything) == list(range(1, 901))
    for tail in tails:
        assert await tail == everything
    for room in ("all", "r0", "r3"):
        own = [m for m in everything if m.room == room]
        assert [m.prev for m in own] == [0, *(m.seq for m in own[:-1])]
    assert all(before.stored_at <= after.stored_at for before, after in pairwise(everything))


async def test_two_servers_store_one_key_once(open_log: Open) -> None:
    first, second = await open_log(), await open_log()
    answers = await asyncio.gather(*(log.append([draft()], key("k")) for log in (first, second) * 5))
    assert [answer.repeated for answer in answers].count(False) == 1
    assert {tuple(seqs(answer.messages)) for answer in answers} == {(1,)}
    with pytest.raises(KeyReused):
        await second.append([draft()], key("k", b"other"))


async def test_a_message_deleted_on_one_server_is_gone_on_another_within_a_second(open_log: Open) -> None:
    first, second = await open_log(), await open_log()
    await publish(first, *"aab")
    tail = second.consumer("test", 0)
    await take(tail, 3)
    waiting = asyncio.create_task(next_batch(tail))
    began = time.monotonic()
    await first.delete(2)
    assert [(cut.room, cut.upto, cut.gone) for cut in (await waiting).cuts] == [("a", 2, 1)]
    waiting = asyncio.create_task(next_batch(tail))
    await first.delete_room("a")
    assert [(cut.room, cut.upto) for cut in (await waiting).cuts] == [("a", 2)]
    assert time.monotonic() - began < 1
    assert told(await second.read(rooms("a"), 0, 10), 0) == {"a": 2}


async def test_a_server_whose_clock_is_behind_takes_no_time_back(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = [await open_log(), await open_log()]
    times = []
    for log, now in [(logs[0], 9_000), (logs[1], 2_000), (logs[0], 9_500), (logs[1], 2_500)]:
        monkeypatch.setattr(machine, "clock", lambda now=now: now * 1_000_000)
        times += [m.stored_at for m in await publish(log, "a")]
    assert times == [9_000, 9_000, 9_500, 9_500]


async def test_messages_that_another_server_has_not_delivered_are_kept_until_it_stands_still(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = PostgresTuning(note_seconds=0.01, active_poll=0.05, idle_poll=0.05)
    first, second = [await open_log(retention=Retention(2), tuning=quick) for _ in range(2)]
    tail = second.consumer("test", 0)
    await until_noted(second)
    calls = Calls(first)
    await publish(first, *"aaaaaa")
    await calls.until_answered("trim")
    assert (await first.bounds()).trimmed == 0
    assert seqs(await take(tail, 6)) == [1, 2, 3, 4, 5, 6]
    waiting = asyncio.create_task(next_batch(tail))

    async def trimmed() -> bool:
        return (await first.bounds()).trimmed == 4

    await until(trimmed)
    assert (await waiting).trimmed > 0
    monkeypatch.setattr(feeding, "_CHECK_SECONDS", 0.01)
    monkeypatch.setattr(feeding, "STILL_SECONDS", 0.05)
    await publish(first, *"aaaa")

    async def trimmed_past_it() -> bool:
        return (await first.bounds()).trimmed == 8

    await until(trimmed_past_it)


async def until_noted(log: PostgresLog) -> None:
    """Waits until the log's server is recorded with a position."""

    async def noted() -> bool:
        return log._tail.presence.position is not None

    await until(noted)


async def test_an_idle_server_makes_fewer_than_six_queries_a_second(open_log: Open) -> None:
    log = await open_log()
    calls = Calls(log)
    await calls.until_answered("forget_keys")  # the last query of its start
    began, before = time.monotonic(), calls.answered.total()
    await calls.until_answered("load_news", 2)
    polling = (calls.answered.total() - before) / (time.monotonic() - began)
    assert polling + 1 < 6  # the server asks for revocations once a second


async def test_publishing_servers_get_equal_shares(open_log: Open) -> None:
    logs = [await open_log(retention=Retention(1_000_000, 1_000_000_000)) for _ in range(3)]
    await until_acquainted(*logs)
    await shares_of(logs, 1_000)  # connections are warm, statements prepared
    shares = await shares_of(logs, 8_000)
    assert min(shares) > 0.9 * sum(shares) / 3


async def shares_of(logs: Sequence[Log], total: int) -> list[int]:
    """How many publishes each log stores until all have stored `total`, with 32 publishers each."""
    shares = [0 for _ in logs]

    async def publisher(which: int) -> None:
        while sum(shares) < total:
            await logs[which].append([draft()])
            shares[which] += 1

    await asyncio.gather(*(publisher(which) for which in range(len(logs)) for _ in range(32)))
    return shares


async def test_a_closed_log_leaves_nothing_behind(open_log: Open, url: str) -> None:
    log = await open_log()
    await publish(log, "a")
    await log.close()
    other = await asyncpg.connect(url)

    async def gone() -> bool:
        return not await other.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    await until(gone)
    assert await other.fetchval("SELECT count(*) FROM roomcast.servers") == 0
    await other.close()
