"""Appends whose connection, answer or lock is lost or late."""

from __future__ import annotations

import asyncpg
import pytest

from roomcast.log.postgresql.tuning import PostgresTuning
from tests.log.steps import draft, key, publish, rooms, seqs, take
from tests.postgresql.conftest import Open


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


async def test_a_publish_waits_for_a_lock_that_somebody_holds_and_is_then_refused(
    open_log: Open, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = await open_log(tuning=PostgresTuning(patience=0.3, retry_seconds=0.05))
    other = await asyncpg.connect(url)
    lock = other.transaction()
    await lock.start()
    await other.execute("SELECT 1 FROM roomcast.log FOR UPDATE")
    with pytest.raises(Exception, match="takes too long"):
        await log.append([draft()])
    assert (await log.read(rooms("a"), 0, 10)).messages == []  # readers wait for nobody
    await lock.commit()
    await other.close()
