"""Two versions of roomcast on one database at once: a newer one migrates the schema while an older one runs."""

from __future__ import annotations

import asyncpg
import pytest

from roomcast.log.postgresql import opening
from roomcast.log.postgresql.queries import MIGRATIONS
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.model.errors import LogUnavailable, LogUnusable
from tests.log.steps import draft, publish, seqs, take, until
from tests.postgresql.conftest import Open

QUICK = PostgresTuning(idle_poll=0.02, active_poll=0.02, retry_seconds=0.02, patience=0.2)
ADDING = """
ALTER TABLE roomcast.messages ADD COLUMN score int;
UPDATE roomcast.version SET number = 2;
"""
BREAKING = """
DROP FUNCTION roomcast.append;
UPDATE roomcast.version SET number = 2, least = 2;
"""
TOO_OLD = "is of version 2, which this roomcast cannot use .* start a newer roomcast"


def become_newer(monkeypatch: pytest.MonkeyPatch, migration: str) -> None:
    """Logs that are opened from now on are the next version's."""
    monkeypatch.setattr(opening, "MIGRATIONS", (*MIGRATIONS, migration))
    monkeypatch.setattr(opening, "VERSION", 2)


async def schema_version(url: str) -> int:
    connection = await asyncpg.connect(url)
    number: int = await connection.fetchval("SELECT number FROM roomcast.version")
    await connection.close()
    return number


async def test_an_older_server_goes_on_beside_a_newer_one_and_starts_again(
    open_log: Open, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await open_log()
    await publish(older, "a")
    with monkeypatch.context() as patch:
        become_newer(patch, ADDING)
        newer = await open_log()
        await open_log()  # finds the schema up to date
    assert await schema_version(url) == 2
    assert seqs([*await publish(newer, "b"), *await publish(older, "a")]) == [2, 3]
    restarted = await open_log()
    assert seqs(await publish(restarted, "c")) == [4]
    for log in (older, newer, restarted):
        assert seqs(await take(log.consumer("test", 0), 4)) == [1, 2, 3, 4]


async def test_a_running_older_server_says_that_a_newer_one_has_made_the_schema_useless_to_it(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = await open_log(tuning=QUICK)
    await publish(older, "a")
    with monkeypatch.context() as patch:
        become_newer(patch, BREAKING)
        await open_log()

    async def noticed() -> bool:
        return "start a newer roomcast" in older._tail.outage.why

    await until(noticed)
    with pytest.raises(LogUnavailable, match=TOO_OLD):
        await older.bounds()
    with pytest.raises(LogUnavailable, match=TOO_OLD):
        await older.append([draft()])


async def test_an_older_roomcast_does_not_start_on_a_schema_that_it_cannot_use(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        become_newer(patch, BREAKING)
        await open_log()
    with pytest.raises(LogUnusable, match=TOO_OLD):
        await open_log()
