"""A database of each earlier version opens with the same content. They were made by the roomcast of their time."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from roomcast.log.base import Idempotency
from roomcast.log.sqlite import opening
from roomcast.log.sqlite.log import SqliteLog, open_log
from roomcast.model.errors import LogUnusable
from roomcast.model.message import Draft
from roomcast.model.retention import Retention
from tests.log.steps import bounds, listed, rooms, seqs, told

DATA = Path(__file__).parents[2] / "data"
DIGEST = b"\x01" * 32
"""The digest of every request with a key."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The database of a server of version 1 that retained 12 of 18 messages, in the rooms a, b, empty, quiet and
    typed."""
    return Path(shutil.copy(DATA / "version-1.db", tmp_path / "log.db"))


@pytest.fixture
async def log(path: Path) -> AsyncIterator[SqliteLog]:
    log = await open_log("sqlite:", str(path), retention=Retention(12))
    yield log
    await log.close()


async def test_a_database_of_version_1_keeps_its_epoch_its_ids_and_its_messages(log: SqliteLog) -> None:
    assert log.epoch == "ududscum3z"
    assert await bounds(log) == (6, 18, 578)
    page = await log.read(rooms("a", "b", "empty", "quiet", "typed"), 0, 100)
    assert seqs(page.messages) == list(range(7, 19))
    assert told(page, 0) == {"a": 4, "b": 1, "empty": 1}
    assert [(stats.room, stats.messages) for stats in await listed(log)] == [
        *(("a", 9), ("b", 1), ("quiet", 1), ("typed", 1)),
    ]
    [message] = (await log.append([Draft("b", None, b"{}")])).messages
    assert (message.seq, message.prev) == (19, 13)


async def test_the_keys_of_version_1_are_known(log: SqliteLog) -> None:
    body = b'{"room":"quiet","user":"anonymous","text":"still here 0"}'
    again = await log.append([Draft("quiet", None, body)], Idempotency("kept-key", DIGEST))
    assert again.repeated
    assert [m[:4] + m[5:] for m in again.messages] == [(8, "quiet", None, 1_700_000_006_000, body)]
    assert (await log.append([Draft("a", None, b"{}")] * 4, Idempotency("batch-key", DIGEST))).repeated
    assert not (await log.append([Draft("a", None, b"{}")], Idempotency("trimmed-key", DIGEST))).repeated


async def test_a_database_of_version_1_can_delete(log: SqliteLog) -> None:
    assert await log.delete(9)
    await log.delete_room("b")
    page = await log.read(rooms("a", "b"), 8, 100)
    assert seqs(page.messages) == [10, 11, 12, *range(14, 19)]
    assert told(page, 8) == {"a": 1, "b": 1}


async def test_a_roomcast_of_version_1_refuses_the_database_of_today(
    log: SqliteLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.close()
    monkeypatch.setattr(opening, "MIGRATIONS", opening.MIGRATIONS[:1])
    with pytest.raises(
        LogUnusable, match="is of version 2, and this roomcast knows versions up to 1: start a newer"
    ):
        await open_log("sqlite:", str(path), retention=Retention())


async def test_a_migration_that_is_interrupted_leaves_version_1(path: Path) -> None:
    connection = apsw.Connection(str(path))
    half = opening.MIGRATIONS[1].split("CREATE TABLE purges")[0]
    connection.execute(f"BEGIN IMMEDIATE; {half}")
    connection.close()
    log = await open_log("sqlite:", str(path), retention=Retention(12))
    assert await bounds(log) == (6, 18, 578)
    await log.close()
