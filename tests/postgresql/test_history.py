"""A log whose history is changed by somebody else, and epochs."""

from __future__ import annotations

import asyncpg
import pytest

from roomcast.log.base import LogConsumer
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.model.errors import LogRestarted
from tests.log.steps import draft, next_batch, publish, rooms, seqs, take, until
from tests.postgresql.conftest import Open
from tests.postgresql.test_several import deafen

GUARDED = ("version", "log", "rooms", "appends", "synced", "keys", "purges", "cuts", "revoked")


async def test_an_operators_direct_changes_are_refused_with_an_explanation(open_log: Open, url: str) -> None:
    log = await open_log()
    await publish(log, "a")
    other = await asyncpg.connect(url)
    for statement in (
        "DELETE FROM roomcast.messages",
        "TRUNCATE roomcast.messages",
        "UPDATE roomcast.log SET newest = 0",
        *(f"DELETE FROM roomcast.{table}" for table in GUARDED),
    ):
        with pytest.raises(asyncpg.RaiseError, match="is written by roomcast itself"):
            await other.execute(statement)
    await other.execute("VACUUM FULL roomcast.messages")
    await other.close()
    assert len((await log.read(rooms("a"), 0, 10)).messages) == 1


async def test_a_page_names_every_single_deletion_that_it_passes(open_log: Open, url: str) -> None:
    log = await open_log()
    await log.append([draft()] * 2_500)
    other = await asyncpg.connect(url)
    delete = "SELECT roomcast.delete_message($1, $2, $3, seq) FROM generate_series($4::bigint, $5::bigint) AS seq"
    for first, last in ((2, 2_400), (2_402, 2_402)):
        await other.execute("SET roomcast.server = 'on'")
        await other.fetch(delete, log.epoch, *log._tail.anchor, first, last)
    await other.close()
    page = await log.read(rooms("a"), 1, 1)
    assert (seqs(page.messages), page.position) == ([2_401], 2_401)
    assert [loss.last for loss in page.losses] == list(range(2, 2_401))
    page = await log.read(rooms("a"), 2_401, 500)
    assert ([loss.last for loss in page.losses], page.position) == ([2_402], 2_500)


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
    """Reads to the end."""
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
    first = await open_log(tuning=PostgresTuning(active_poll=60, idle_poll=60))
    await deafen(first)
    await publish(first, "a")
    second = await open_log(new_epoch=True)
    assert seqs(await publish(first, "a")) == [2]
    assert first.epoch == second.epoch
