"""The files of an open database: moved, cut short, or with a hole in the write-ahead log."""

# ruff: noqa: ASYNC240 -- the tests themselves may touch a file on the loop

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NoReturn

import apsw
import pytest

from roomcast.log.clock import now_ms
from roomcast.log.sqlite import files as module
from roomcast.log.sqlite import log as sqlite
from roomcast.log.sqlite.files import DatabaseFiles
from roomcast.log.sqlite.log import SqliteLog
from roomcast.log.sqlite.opening import BUSY_MS, CHECKPOINT_PAGES, open_database
from roomcast.log.sqlite.write_connection import WriteConnection
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from tests.log.sqlite.conftest import Reopen, open_files, without_rights
from tests.log.steps import publish, seqs

FRAME = 24 + 4_096


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock"])
async def test_nothing_is_written_while_a_file_is_away(
    log: SqliteLog, path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(log, "a")
    monkeypatch.setattr(WriteConnection, "_take_back", lambda self: pytest.fail("SQLite has refused nothing"))
    file = Path(f"{path}{suffix}")
    elsewhere = file.rename(path.with_name("elsewhere"))
    log._writer._database.guard.check_at = 0.0
    with pytest.raises(LogUnavailable, match=rf"log\.db{suffix} was moved, removed or replaced, or"):
        await publish(log, "a")
    elsewhere.rename(file)
    assert seqs(await publish(log, "a")) == [2]


async def test_a_revocation_that_was_stored_shows_that_the_log_can_be_written_again(
    log: SqliteLog, path: Path
) -> None:
    elsewhere = path.rename(path.with_name("elsewhere"))
    log._writer._database.guard.check_at = 0.0
    with pytest.raises(LogUnavailable):
        await log.revoke(Revocation("42", None, now_ms()))
    assert log.unwritable
    elsewhere.rename(path)
    await log.revoke(Revocation("42", None, now_ms()))
    assert not log.unwritable


async def test_a_walk_that_finds_a_file_back_shows_that_the_log_can_be_written_again(
    log: SqliteLog, path: Path
) -> None:
    def walk() -> asyncio.Future[None]:
        log._writer._database.guard.check_at = 0.0
        return log._commits.do(lambda floor: log._writer.walk("", floor))

    elsewhere = path.rename(path.with_name("elsewhere"))
    with pytest.raises(LogUnavailable):
        await walk()
    assert log.unwritable
    elsewhere.rename(path)
    await walk()
    assert not log.unwritable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@contextmanager
def replaced_by_a_file(folder: Path) -> Iterator[None]:
    """A file has the name of `folder`, which was moved away."""
    elsewhere = folder.rename(folder.with_name("elsewhere"))
    folder.touch()
    yield
    folder.unlink()
    elsewhere.rename(folder)


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """This user may not look up the files in `folder`."""
    folder.chmod(0)
    with without_rights():
        yield
    folder.chmod(0o700)


@pytest.mark.parametrize("away", [replaced_by_a_file, closed])
async def test_nothing_is_written_while_the_directory_cannot_be_reached(
    reopen: Reopen, folder: Path, away: Callable[[Path], AbstractContextManager[None]]
) -> None:
    log = await reopen(path=folder / "log.db")
    await publish(log, "a")
    with away(folder):
        log._writer._database.guard.check_at = 0.0
        with pytest.raises(LogUnavailable, match=r"^log\.db was moved, .*, or cannot be reached any more: put"):
            await publish(log, "a")
    assert seqs(await publish(log, "a")) == [2]


@pytest.mark.parametrize("away", [replaced_by_a_file, closed])
async def test_a_database_whose_directory_cannot_be_reached_is_closed(
    reopen: Reopen, folder: Path, away: Callable[[Path], AbstractContextManager[None]]
) -> None:
    log = await reopen(path=folder / "log.db")
    await publish(log, "a")
    with away(folder):
        await log.close()
        with pytest.raises(apsw.ConnectionClosedError):
            log._writer._database.connection.changes()
    assert seqs(await publish(await reopen(path=folder / "log.db"), "a")) == [2]


async def test_a_database_that_cannot_be_checked_at_the_end_is_closed(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(log, "a")

    def fail(self: DatabaseFiles) -> NoReturn:
        raise apsw.IOError("disk I/O error")

    monkeypatch.setattr(DatabaseFiles, "check", fail)
    await log.close()
    with pytest.raises(apsw.ConnectionClosedError):
        log._writer._database.connection.changes()


async def test_nothing_is_written_to_a_database_that_was_cut_short(log: SqliteLog, path: Path) -> None:
    await publish(log, *"aaa", body=b"x" * 50_000)
    other = apsw.Connection(str(path))
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    other.close()
    log._writer._database.guard.check_at = 0.0
    await publish(log, "a")
    os.truncate(path, path.stat().st_size - 4_096)
    log._writer._database.guard.check_at = 0.0
    for _ in range(2):
        with pytest.raises(LogUnavailable, match=r"log\.db was emptied or cut short.*--new-epoch"):
            await publish(log, "a")


@pytest.fixture
def connection(path: Path) -> Iterator[apsw.Connection]:
    """A connection to a new database, whose write-ahead log has some frames."""
    opened = open_database(str(path), new_epoch=False, synchronous="off")
    opened.reader.close()
    opened.files.close()
    yield opened.writer
    opened.writer.close()
    opened.lock.release()


@pytest.fixture
def files(connection: apsw.Connection, path: Path) -> Iterator[DatabaseFiles]:
    files = DatabaseFiles(str(path), connection)
    yield files
    files.close()


def store(connection: apsw.Connection) -> None:
    """Commits something that takes a few frames."""
    connection.execute("CREATE TABLE IF NOT EXISTS waste (x); INSERT INTO waste VALUES (zeroblob(20000))")


def frames(connection: apsw.Connection) -> int:
    return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0]


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_a_commit_that_is_whole_is_no_damage(
    connection: apsw.Connection, files: DatabaseFiles, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ_FRAMES", at_once)
    for _ in range(3):
        store(connection)
        files.check_commit()
        assert not files.truncated


@pytest.mark.parametrize("at_once", [1, 2, 64])
@pytest.mark.parametrize("back", [1, 2])
@pytest.mark.parametrize("hole", ["cut", "cut within a frame", "zeros"])
def test_a_commit_with_a_hole_is_noticed(
    connection: apsw.Connection,
    files: DatabaseFiles,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
    back: int,
    hole: str,
) -> None:
    """However many frames are read at once: the last frames are missing, or one of them has other content."""
    monkeypatch.setattr(module, "_READ_FRAMES", at_once)
    store(connection)
    start = 32 + (frames(connection) - back) * FRAME
    if hole != "zeros":
        os.truncate(f"{path}-wal", start + (FRAME // 2 if "within" in hole else 0))
    else:
        with open(f"{path}-wal", "r+b") as file:
            file.seek(start)
            file.write(bytes(FRAME))
    files.check_commit()
    assert files.truncated == "log.db-wal"


def test_a_write_ahead_log_that_cannot_be_read_for_a_moment_is_not_truncated(
    connection: apsw.Connection, files: DatabaseFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(connection)

    def fail(*arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(os, "pread", fail)
        files.check_commit()
    assert not files.truncated
    files.check_commit()
    assert not files.truncated


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_log_whose_write_ahead_log_was_cut_begins_a_new_epoch(
    reopen: Reopen, path: Path, noticed: bool
) -> None:
    """Its last messages may be gone, and their ids must not be used again."""
    await reopen()
    log = await reopen()
    await publish(log, *"aaa", body=b"x" * 50_000)
    os.truncate(f"{path}-wal", 32)
    if noticed:
        with pytest.raises(LogUnavailable):
            await publish(log, "a")
    assert (await reopen()).epoch != log.epoch


async def test_nothing_is_left_beside_a_database_that_was_replaced(log: SqliteLog, path: Path) -> None:
    """It would be read as part of the other one, in which nothing changes either."""
    await publish(log, *"aaa", body=b"x" * 50_000)
    other = path.with_name("other.db")
    await (await sqlite.open_log("sqlite:", str(other), retention=Retention())).close()
    path.rename(path.with_name("elsewhere.db"))
    path.write_bytes(content := other.read_bytes())
    await log.close()
    assert Path(f"{path}-wal").stat().st_size == 0
    assert path.read_bytes() == content


async def test_a_log_that_is_closed_has_no_file_open(log: SqliteLog, path: Path) -> None:
    await publish(log, "a")
    assert open_files(path)
    await log.close()
    assert open_files(path) == []


@pytest.mark.parametrize("part", ["DatabaseLock._take", "_version", "check_database", "DatabaseFiles"])
async def test_a_log_that_fails_to_open_leaves_no_file_open(
    path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(f"roomcast.log.sqlite.opening.{part}", fail)
    with pytest.raises(LogUnusable, match="Input/output error"):
        await sqlite.open_log("sqlite:", str(path), retention=Retention())
    assert open_files(path) == []


async def test_both_connections_sort_in_memory_and_wait_for_other_programs(log: SqliteLog) -> None:
    """A sort in a file would fail on a full disk, and reading must still work then."""
    for connection in (log._reader._connection, log._writer._database.connection):
        assert [connection.pragma(name) for name in ("temp_store", "busy_timeout")] == [2, BUSY_MS]
    assert log._writer._database.connection.pragma("wal_autocheckpoint") == CHECKPOINT_PAGES
