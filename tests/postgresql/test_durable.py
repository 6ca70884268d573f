"""Several servers share the wait for the disk: none holds the lock meanwhile, and nothing is seen too early."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import randbits

import asyncpg
import pytest

from roomcast.log.append_queue import AppendRequest, PendingAppend
from roomcast.log.postgresql import tail as postgresql_tail
from roomcast.log.postgresql.groups import AppendGroup
from roomcast.log.postgresql.log import PostgresLog
from roomcast.log.postgresql.queries import Row
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.model.retention import Retention, RoomRules
from tests.log.steps import draft, listed, publish, rooms, seqs, take
from tests.postgresql.calls import Calls
from tests.postgresql.conftest import Open
from tests.postgresql.test_several import until_acquainted

POLLING = PostgresTuning(active_poll=0.02, idle_poll=0.02)


async def append_only(log: PostgresLog, *names: str) -> Row:
    """An append whose server ends before it has waited for the disk."""
    drafts = [draft(name) for name in names]
    group = AppendGroup([PendingAppend.for_request(AppendRequest(drafts, None))], Retention(), RoomRules(()))
    values = log._writer.append_arguments(randbits(63), group.parameters())
    row = await log._writing.row("append", *values[:-1], False)
    assert not row["synced"]
    return row


async def test_a_message_is_seen_only_when_it_is_durable(open_log: Open) -> None:
    log = await open_log()
    await publish(log, "a")
    await append_only(log, "a", "a")
    assert seqs((await log.read(rooms("a"), 0, 10)).messages) == [1]
    assert await log.get(2) is None
    assert (await log.bounds()).newest == 1
    assert await log.seek_newest(rooms("a"), 1) == 0
    assert await log.seek_time(rooms("a"), 2**53) == 1
    assert seqs(await publish(log, "a")) == [4]
    assert seqs((await log.read(rooms("a"), 0, 10)).messages) == [1, 2, 3, 4]
    assert [room.messages for room in await listed(log)] == [4]


async def test_a_message_whose_server_has_ended_is_made_durable_by_another_one(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_tail, "_UNSYNCED_SECONDS", 0.05)
    log = await open_log(tuning=POLLING)
    tail = log.consumer("test", 0)
    await append_only(log, "a", "b")
    assert [(m.seq, m.room) for m in await take(tail, 2)] == [(1, "a"), (2, "b")]


async def test_a_server_that_starts_sees_what_was_appended_before(open_log: Open) -> None:
    await append_only(await open_log(tuning=PostgresTuning(active_poll=60, idle_poll=60)), "a")
    assert seqs((await (await open_log()).read(rooms("a"), 0, 10)).messages) == [1]


async def test_a_server_that_waits_for_the_disk_holds_up_no_other_one(open_log: Open, url: str) -> None:
    first, second = await open_log(), await open_log()
    await until_acquainted(first, second)
    await publish(first, "a")
    other = await asyncpg.connect(url)
    waiting = other.transaction()
    await waiting.start()
    await other.execute("SELECT 1 FROM roomcast.synced WHERE server = $1 FOR UPDATE", first._tail.presence.server)
    calls = Calls(first)
    appending = first.append([draft("a")])
    await calls.until_answered("append")
    assert seqs(await publish(second, "b")) == [3]
    assert not appending.done()
    assert seqs(await take(second.consumer("test", 0), 3)) == [
        1,
        2,
        3,
    ]  # what is before 3 on the disk is durable, too
    await waiting.commit()
    assert seqs((await appending).messages) == [2]
    await other.close()


async def test_an_append_that_another_primary_does_not_have_is_stored_again(open_log: Open, url: str) -> None:
    """After a failover the wait for the disk goes to another primary, which may not have the append."""
    log, second = await open_log(), await open_log()
    await until_acquainted(log, second)
    await second.close()
    await publish(log, "a")
    call = log._writing._call
    lost: list[str] = []

    async def failing_over(name: str, *values: object) -> Sequence[Row]:
        if name == "sync" and not lost:
            lost.append(name)
            await take_back(url)
        return await call(name, *values)

    log._writing._call = failing_over  # type: ignore[method-assign]
    assert seqs((await log.append([draft("a")])).messages) == [2]
    assert lost
    assert seqs((await log.read(rooms("a"), 0, 10)).messages) == [1, 2]


async def take_back(url: str) -> None:
    """Undoes the append of message 2."""
    other = await asyncpg.connect(url)
    await other.execute(
        "SET roomcast.server = 'on'; DELETE FROM roomcast.messages WHERE seq = 2;"
        "DELETE FROM roomcast.appends WHERE last = 2;"
        "UPDATE roomcast.rooms SET newest = 1, messages = 1, bytes = 2;"
        "UPDATE roomcast.log SET newest = 1, messages = 1, bytes = 2,"
        " nonce = (SELECT nonce FROM roomcast.appends WHERE last = 1)"
    )
    await other.close()
