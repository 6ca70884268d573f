"""Several servers on one database, as logs in one process; and answers that are lost on the way."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import asyncpg
import pytest

from roomcast.log import clock as machine
from roomcast.log import consumers as feeding
from roomcast.log.base import Log, LogConsumer
from roomcast.log.postgresql.tail import Tuning
from roomcast.model.errors import KeyReused, LogRestarted
from roomcast.model.message import Message
from roomcast.model.retention import Retention
from tests.log.steps import draft, key, next_batch, publish, rooms, seqs, take, told, until
from tests.postgresql.conftest import Open

DEAF = Tuning(deaf_poll=0.05)


async def deafen(log: object) -> None:
    """It hears no notification from now on."""
    log._follower._session._heard = None  # type: ignore[attr-defined]
    await log._follower._session.drop()  # type: ignore[attr-defined]


@pytest.mark.parametrize("deaf", [False, True], ids=["notified", "asking"])
async def test_what_all_publish_is_dense_and_each_follower_gets_all_of_it_once(open_log: Open, deaf: bool) -> None:
    logs = [await open_log(tuning=DEAF) for _ in range(3)]
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


async def test_what_one_server_deletes_is_gone_on_another_within_a_second(open_log: Open) -> None:
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


async def test_what_another_server_has_not_delivered_is_kept_until_it_stands_still(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Tuning(note_seconds=0.01, active_poll=0.05, idle_poll=0.05)
    first, second = [await open_log(retention=Retention(2), tuning=quick) for _ in range(2)]
    tail = second.consumer("test", 0)
    assert await noted(second) == 0
    await publish(first, *"aaaaaa")
    await asyncio.sleep(0.1)  # it would be trimmed by now
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


async def noted(log: object) -> int | None:
    """The position that a log is noted with, once it is."""
    follower = log._follower  # type: ignore[attr-defined]

    async def is_noted() -> bool:
        return follower._noted[0] is not None

    await until(is_noted)
    position: int | None = follower._noted[0]
    return position


async def test_a_server_that_is_idle_asks_less_than_six_times_a_second(open_log: Open) -> None:
    log = await open_log()
    counted = 0
    for session in log._sessions:
        call = session._call

        async def counting(name: str, *values: object, call=call) -> object:  # type: ignore[no-untyped-def]
            nonlocal counted
            counted += 1
            return await call(name, *values)

        session._call = counting  # type: ignore[method-assign, assignment]
    began = time.monotonic()
    while time.monotonic() - began < 2:
        await log.revocations()  # as the server does
        await asyncio.sleep(1)
    assert counted < 6 * (time.monotonic() - began)


async def test_an_append_whose_connection_is_cut_while_it_waits_is_stored_once(open_log: Open, url: str) -> None:
    log = await open_log()
    await publish(log, "a")
    other = await asyncpg.connect(url)
    lock = other.transaction()
    await lock.start()
    await other.execute("SELECT 1 FROM roomcast.log FOR UPDATE")
    appending = log.append([draft(), draft()])
    await until_waiting(other)
    await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    await lock.commit()
    assert seqs((await appending).messages) == [2, 3]
    assert (await log.bounds()).newest == 3
    await other.close()


async def until_waiting(connection: asyncpg.Connection) -> None:
    """Waits until somebody waits for a lock."""
    while not await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ):
        await connection.execute("SELECT pg_stat_clear_snapshot()")


@pytest.mark.parametrize("idempotency", [None, key("k")])
async def test_an_append_whose_answer_is_lost_is_stored_once(open_log: Open, idempotency: object) -> None:
    log, other = await open_log(), await open_log()
    session = log._writing
    call = session._call
    lost: list[str] = []

    async def losing(name: str, *values: object) -> object:
        found = await call(name, *values)
        if name == "append" and not lost:
            lost.append(name)
            await publish(other, "b")  # and somebody was quicker with the next one
            raise ConnectionResetError("the answer is lost")
        return found

    session._call = losing  # type: ignore[method-assign, assignment]
    tail = log.consumer("test", 0)
    answer = await log.append([draft("a", b"1"), draft("a", b"2")], idempotency)  # type: ignore[arg-type]
    assert (seqs(answer.messages), answer.repeated) == ([1, 2], False)
    assert [(m.seq, m.room, m.prev) for m in await take(tail, 3)] == [(1, "a", 0), (2, "a", 1), (3, "b", 0)]
    assert seqs(await publish(log, "a")) == [4]
    assert (await publish(log, "a"))[0].prev == 4


async def test_a_lock_that_somebody_holds_is_waited_for_and_then_said(
    open_log: Open, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = await open_log(tuning=Tuning(patience=0.3, retry_seconds=0.05))
    other = await asyncpg.connect(url)
    lock = other.transaction()
    await lock.start()
    await other.execute("SELECT 1 FROM roomcast.log FOR UPDATE")
    with pytest.raises(Exception, match="takes too long"):
        await log.append([draft()])
    assert (await log.read(rooms("a"), 0, 10)).messages == []  # readers wait for nobody
    await lock.commit()
    await other.close()


async def test_what_an_operator_deletes_is_refused_in_a_sentence(open_log: Open, url: str) -> None:
    log = await open_log()
    await publish(log, "a")
    other = await asyncpg.connect(url)
    for statement in (
        "DELETE FROM roomcast.messages",
        "TRUNCATE roomcast.messages",
        "UPDATE roomcast.log SET newest = 0",
        "DELETE FROM roomcast.rooms",
    ):
        with pytest.raises(asyncpg.RaiseError, match="is written by roomcast itself"):
            await other.execute(statement)
    await other.execute("VACUUM FULL roomcast.messages")
    await other.close()
    assert len((await log.read(rooms("a"), 0, 10)).messages) == 1


async def test_the_history_of_a_copy_that_was_put_back_is_another_epoch(open_log: Open, url: str) -> None:
    logs = [await open_log(), await open_log()]
    await publish(logs[0], *"aaaa")
    tails = [log.consumer("test", 0) for log in logs]
    for tail in tails:
        await take(tail, 4)
    epoch = logs[0].epoch
    other = await asyncpg.connect(url)
    await other.execute(
        "SET roomcast.server = 'on'; DELETE FROM roomcast.messages WHERE seq > 2;"
        "DELETE FROM roomcast.appends WHERE first > 2;"
        "UPDATE roomcast.rooms SET newest = 2, messages = 2, bytes = 4;"
        "UPDATE roomcast.log SET newest = 2, messages = 2, bytes = 4,"
        " nonce = (SELECT nonce FROM roomcast.appends WHERE last = 2)"
    )
    await other.close()

    async def forked() -> bool:
        return {log.epoch for log in logs} != {epoch} and logs[0].epoch == logs[1].epoch

    await until(forked)
    assert seqs(await publish(logs[1], "a")) == [3]
    for tail in tails:
        with pytest.raises(LogRestarted):
            await drained(tail)


async def drained(tail: LogConsumer) -> None:
    """Until it ends."""
    while True:
        await next_batch(tail)


async def test_a_new_epoch_at_the_start_is_taken_by_the_others(open_log: Open) -> None:
    first = await open_log()
    await publish(first, "a")
    second = await open_log(new_epoch=True)
    assert second.epoch != first.epoch

    async def taken() -> bool:
        return first.epoch == second.epoch

    await until(taken)
    assert seqs(await publish(first, "a")) == [2]


async def test_a_publish_that_meets_a_new_epoch_is_stored_under_it(open_log: Open) -> None:
    first = await open_log(tuning=Tuning(active_poll=60, idle_poll=60))
    await deafen(first)
    await publish(first, "a")
    second = await open_log(new_epoch=True)
    assert seqs(await publish(first, "a")) == [2]
    assert first.epoch == second.epoch


async def test_a_newer_schema_that_this_roomcast_can_use_is_used_and_another_is_refused(
    open_log: Open, url: str
) -> None:
    await open_log()
    other = await asyncpg.connect(url)
    await other.execute("UPDATE roomcast.version SET number = 7")
    await publish(await open_log(), "a")
    await other.execute("UPDATE roomcast.version SET least = 7")
    with pytest.raises(Exception, match="start a newer roomcast"):
        await open_log()
    await other.close()


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
