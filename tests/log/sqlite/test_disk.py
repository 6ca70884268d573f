"""Full disks, and other programs that open or cut the files."""

# ruff: noqa: ASYNC240 -- the tests themselves may touch a file on the loop

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from roomcast.log.sqlite import opening
from roomcast.log.sqlite.log import SqliteLog
from roomcast.log.sqlite.write_connection import WriteConnection
from roomcast.model.errors import LogUnavailable, LogUnusable
from tests import disks
from tests.log.sqlite.conftest import Reopen
from tests.log.steps import bounds, draft, key, publish, seqs, take


async def test_a_full_database_leaves_no_hole_and_recovers_by_itself(log: SqliteLog) -> None:
    await log.append([draft()], key("before"))
    await limit_pages(log, 1)
    appends = [log.append([draft(body=b"x" * 50_000)], key(f"k{n}")) for n in range(5)]
    answers = await asyncio.gather(*appends, return_exceptions=True)
    assert all(isinstance(answer, LogUnavailable) and "disk is full" in answer.detail for answer in answers)
    assert await bounds(log) == (0, 1, 2)
    assert (await log.append([draft()], key("before"))).repeated
    await limit_pages(log, 1_000_000)
    again = [await log.append([draft(body=b"x" * 50_000)], key(f"k{n}")) for n in range(5)]
    assert [(seqs(answer.messages), answer.repeated) for answer in again] == [([n], False) for n in range(2, 7)]


async def limit_pages(log: SqliteLog, count: int) -> None:
    """Lets the database grow no further, as a full disk does."""
    pragma = log._writer._database.connection.pragma
    await asyncio.to_thread(pragma, "max_page_count", count)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    with disks.small_disk(tmp_path / "disk", "1m") as disk:
        yield disk


async def test_a_full_disk_leaves_no_hole_and_recovers_by_itself(reopen: Reopen, small_disk: Path) -> None:
    log = await reopen(path=small_disk / "log.db")
    tail = log.consumer("test", 0)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 400_000)
    stored = await publish_until_full(log)
    assert (await log.bounds()).newest == stored
    ballast.unlink()
    assert seqs(await publish(log, "a")) == [stored + 1]
    assert seqs(await take(tail, stored + 1)) == list(range(1, stored + 2))


async def publish_until_full(log: SqliteLog) -> int:
    """Publishes until the disk is full. Returns how many messages were stored."""
    for stored in range(0, 1_000, 3):
        [answer] = await asyncio.gather(log.append([draft(body=b"x" * 10_000)] * 3), return_exceptions=True)
        if isinstance(answer, LogUnavailable):
            assert "disk is full" in answer.detail
            return stored
    raise AssertionError("the disk was never full")


async def test_a_disk_that_is_full_at_the_start_is_named(reopen: Reopen, small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (1024 * 1024 - 8192))
    with pytest.raises(LogUnusable, match="There is no space left on the disk of"):
        await reopen(path=small_disk / "log.db")


async def test_a_write_ahead_log_that_grew_during_a_long_read_is_small_again_afterwards(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CHECKPOINT_PAGES", 10)
    monkeypatch.setattr(opening, "WAL_BYTES", 100_000)
    log = await reopen()
    await publish(log, "a")
    reading = apsw.Connection(str(path))
    reading.execute("BEGIN; SELECT count(*) FROM messages").get  # noqa: B018 -- this begins the read
    await publish(log, *["a"] * 20, body=b"x" * 10_000)
    assert Path(f"{path}-wal").stat().st_size > 200_000
    reading.close()
    await publish(log, *["a"] * 20)
    assert Path(f"{path}-wal").stat().st_size <= 100_000


@pytest.mark.parametrize("left", [0, 31, 32, 0.01, 0.5, 0.9, -10_000, -4_000])
@pytest.mark.parametrize("anew", [False, True])
async def test_a_truncated_write_ahead_log_is_noticed_by_the_next_commit_wherever_it_was_cut(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch, left: float, anew: bool
) -> None:
    """SQLite itself continues behind the hole. `anew`: it has restarted the log from its first page."""
    monkeypatch.setattr(opening, "CHECKPOINT_PAGES", 30 if anew else 10_000)
    log = await reopen()
    await publish(log, *"aaa", body=b"x" * 50_000)
    await publish(log, *"aaa", body=b"x" * 5_000)
    log._writer._database.guard.check_at = float("inf")  # the regular check of the files must not find it
    frames, emptied = log._writer._database.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    assert (frames < 30, emptied) == (anew, 0)
    end = 32 + frames * (24 + 4_096)
    os.truncate(f"{path}-wal", int(end * left) if 0 < left < 1 else int(end + left) if left < 0 else int(left))
    for _ in range(2):
        with pytest.raises(LogUnavailable, match=r"log\.db-wal was emptied or cut short.*--new-epoch"):
            await publish(log, "a")


async def test_a_write_ahead_log_that_restarts_repeatedly_is_not_truncated(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CHECKPOINT_PAGES", 20)
    log = await reopen()
    for size in (10, 5_000, 400_000, 10) * 8:
        await publish(log, "a", body=b"x" * size)
        await log.append([draft("b", b"x" * 100)] * 30)


async def test_another_program_may_make_the_files_smaller(log: SqliteLog, path: Path) -> None:
    """As backup programs and operators do."""
    await publish(log, *"aaaa", body=b"x" * 50_000)
    other = apsw.Connection(str(path))
    list(other.execute("SELECT * FROM state"))
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert Path(f"{path}-wal").stat().st_size == 0
    log._writer._database.guard.check_at = 0.0
    await publish(log, "a")
    size = path.stat().st_size
    other.execute("CREATE TABLE waste AS SELECT * FROM messages; DROP TABLE waste; VACUUM")
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    await publish(log, *"aaaa", body=b"x" * 50_000)
    other.execute("DELETE FROM messages WHERE seq < 0; VACUUM")
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    other.close()
    log._writer._database.guard.check_at = 0.0
    assert seqs(await publish(log, "a")) == [10]
    assert path.stat().st_size >= size


async def test_a_program_that_locks_the_file_is_waited_for_once(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_MS", 10)
    log = await reopen()
    monkeypatch.setattr(WriteConnection, "_take_back", lambda self: pytest.fail("there was nothing to take back"))
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match="Another program holds the log's database"):
        await publish(log, "a")
    other.execute("ROLLBACK")
    assert seqs(await publish(log, "a")) == [1]
    other.close()
