"""What is SQLite's own: restarts, crashes, full disks, foreign and damaged files, and what waits for the disk."""

# ruff: noqa: ASYNC240 -- the tests themselves may touch a file on the loop

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import apsw
import pytest

from roomcast.log import append_queue as pending
from roomcast.log import clock, consumers
from roomcast.log.append_queue import Request
from roomcast.log.base import RoomSort
from roomcast.log.sqlite import group_commit, opening, reader, whole, write_cache, writer
from roomcast.log.sqlite import log as sqlite
from roomcast.log.sqlite.log import SqliteLog
from roomcast.log.sqlite.queries import QUERIES
from roomcast.log.sqlite.reader import _arms
from roomcast.log.sqlite.writer import TRIM_BESIDE, Committed, Writer
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.message import Message
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection
from tests import disks
from tests.log.acting import (
    PATIENCE,
    bounds,
    draft,
    key,
    listed,
    publish,
    rooms,
    seqs,
    take,
    told,
    trimmed,
    until,
)

Reopen = Callable[..., Awaitable[SqliteLog]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def reopen(path: Path) -> AsyncIterator[Reopen]:
    """Closes the log that is open, if any, and opens it (anew)."""
    logs: list[SqliteLog] = []

    async def open_again(
        max_messages: int = 10_000, max_bytes: int = 5_000_000, path: Path = path, **options: object
    ) -> SqliteLog:
        if logs:
            await logs.pop().close()
        retention = Retention(max_messages, max_bytes)
        logs.append(await sqlite.open_log(f"sqlite:{path}", str(path), retention=retention, **options))  # type: ignore[arg-type]
        return logs[-1]

    yield open_again
    if logs:
        await logs.pop().close()


@pytest.fixture
async def log(reopen: Reopen) -> SqliteLog:
    return await reopen()


# Restarts


async def test_a_restart_goes_on_where_the_log_ended(reopen: Reopen) -> None:
    log = await reopen(max_messages=3)
    stored = await publish(log, *"abcab")
    kept = await log.append([draft("c")], key("k"))
    await trimmed(log, 3)
    again = await reopen(max_messages=3)
    assert again.epoch == log.epoch
    page = await again.read(rooms(*"abc"), 0, 100)
    assert list(page.messages) == [*stored[3:], *kept.messages]
    assert told(page, 0) == {"a": 1, "b": 1, "c": 1}
    assert (await again.append([draft("c")], key("k"))).repeated
    assert seqs(await take(again.consumer("test", 3), 3)) == [4, 5, 6]
    [message] = await publish(again, "a")
    assert (message.seq, message.prev) == (7, 4)


async def test_what_was_revoked_is_revoked_after_a_restart(reopen: Reopen) -> None:
    now = clock.clock() // 1_000_000
    rows = {Revocation("42", None, now), Revocation("42", "https://a", now)}
    log = await reopen()
    for row in rows:
        await log.revoke(row)
    assert set(await (await reopen()).revocations()) == rows


async def test_ids_go_on_after_everything_was_trimmed(reopen: Reopen) -> None:
    log = await reopen()
    await publish(log, "a", "a", body=b"x" * 50)
    log = await reopen(max_bytes=10)
    await trimmed(log, 2)
    log = await reopen(max_bytes=10)
    assert await bounds(log) == (2, 2, 0)
    assert await log.seek_time(rooms("a"), 0) == 0
    tail = log.consumer("test", 0)
    assert seqs(await publish(log, "a")) == [3]
    assert seqs(await take(tail, 1)) == [3]


async def test_times_never_fall_across_a_restart(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "clock", lambda: 5_000_000_000)
    await publish(await reopen(), "a")
    monkeypatch.setattr(clock, "clock", lambda: 3_000_000_000)
    [message] = await publish(await reopen(), "a")
    assert message.stored_at == 5_000


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the time in ms."""
    return lambda ms: monkeypatch.setattr(clock, "clock", lambda: ms * 1_000_000)


async def test_times_begin_anew_when_all_of_the_future_is_trimmed(
    reopen: Reopen, set_clock: Callable[[int], None]
) -> None:
    set_clock(9_000_000)
    await publish(await reopen(), "a", "b", body=b"x" * 50)
    set_clock(1_000)
    await trimmed(await reopen(max_bytes=10), 2)
    log = await reopen()
    assert [message.stored_at for message in await publish(log, "a", "a")] == [1_000, 1_000]
    assert await log.seek_time(rooms("a"), 1_000) == 0  # what was of the future is of now
    assert await log.seek_time(rooms("a", "b", "c"), 1_001) == 4


async def test_times_go_on_while_anything_of_the_future_is_retained(
    reopen: Reopen, set_clock: Callable[[int], None]
) -> None:
    set_clock(9_000_000)
    await publish(await reopen(), "a", "b")
    set_clock(1_000)
    log = await reopen(max_messages=1)
    await trimmed(log, 1)
    assert (await publish(log, "a"))[0].stored_at == 9_000_000


async def test_times_begin_anew_under_a_new_epoch_that_was_asked_for(
    reopen: Reopen, set_clock: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    log = await reopen(max_messages=4)
    for time, names in ((1_000, "ab"), (9_000_000, "ac"), (5_000, "c")):
        set_clock(time)
        await publish(log, *names)
    await trimmed(log, 1)
    log = await reopen(max_messages=4, new_epoch=True)
    assert "3 messages were from the future: they are from 1970-01-01T00:00:05.000Z now" in caplog.text
    set_clock(6_000)
    await publish(log, "b")
    found = (await log.read(rooms("a", "b", "c"), 0, 10)).messages
    assert [message.stored_at for message in found] == [5_000, 5_000, 5_000, 6_000]
    assert {(stats.room, stats.newest_at) for stats in await listed(log)} == {
        ("a", 5_000),
        ("b", 6_000),
        ("c", 5_000),
    }
    assert await log.seek_time(rooms("a"), 5_001) == 5


async def test_no_time_changes_under_a_new_epoch_that_was_not_asked_for(
    reopen: Reopen, path: Path, set_clock: Callable[[int], None]
) -> None:
    """A machine without a battery begins in 1970 after a power cut."""
    set_clock(9_000_000)
    log = await reopen(synchronous="off")
    [stored] = await publish(log, "a")
    await log.close()
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE state SET clean = 0")
    connection.close()
    set_clock(1_000)
    again = await reopen(synchronous="off")
    assert again.epoch != log.epoch
    assert await again.get(1) == stored
    assert (await publish(again, "a"))[0].stored_at == 9_000_000


async def test_a_clock_found_behind_at_the_start_is_said_then(
    reopen: Reopen, set_clock: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    set_clock(9_000_000)
    await publish(await reopen(), "a")
    set_clock(1_000)
    log = await reopen()
    assert caplog.text.count("start the server once with --new-epoch") == 1
    await publish(log, "a")
    assert caplog.text.count("start the server once with --new-epoch") == 1


async def test_a_lowered_cap_is_reached_without_a_publish(reopen: Reopen) -> None:
    log = await reopen()
    await log.append([draft()] * 3_000)
    log = await reopen(max_messages=10)
    await trimmed(log, 2_990)
    assert told(await log.read(rooms("a"), 0, 100), 0) == {"a": 2_990}


async def test_a_commit_trims_at_most_twice_what_it_adds_and_a_bit(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "TRIM_PAUSE", 3_600)
    log = await reopen()
    await log.append([draft()] * 500)
    log = await reopen(max_messages=10)
    await log.append([draft()] * 4)
    assert (await log.bounds()).trimmed == 2 * 4 + TRIM_BESIDE


async def test_a_log_with_a_lost_end_goes_on_under_a_new_epoch(reopen: Reopen) -> None:
    log = await reopen()
    await publish(log, "a")
    again = await reopen(new_epoch=True)
    assert again.epoch != log.epoch
    assert seqs(await publish(again, "a")) == [2]
    assert (await reopen()).epoch == again.epoch


@pytest.mark.parametrize(("synchronous", "same"), [("full", True), ("normal", False), ("off", False)])
async def test_an_unclean_stop_with_lowered_durability_begins_a_new_epoch(
    reopen: Reopen, path: Path, tmp_path: Path, synchronous: str, same: bool
) -> None:
    log = await reopen(synchronous=synchronous)
    await publish(log, "a")
    crashed = tmp_path / "crashed.db"
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{crashed}{suffix}")
    assert ((await reopen(path=crashed)).epoch == log.epoch) is same
    assert (await reopen(synchronous=synchronous)).epoch == log.epoch  # It was closed, so it ended well.


async def test_no_acknowledged_message_is_lost_by_kill_9(reopen: Reopen, path: Path) -> None:
    acknowledged = await killed_while_publishing(path)
    log = await reopen()
    bounds = await log.bounds()
    assert (await log.rooms("", "name", None, 1))[0].messages == bounds.newest
    stored = await take(log.consumer("test", 0), bounds.newest)
    assert seqs(stored) == list(range(1, bounds.newest + 1))
    bodies = {message.seq: message.body for message in stored}
    assert len(acknowledged) >= 200
    assert {seq: bodies[seq] for seq in acknowledged} == acknowledged


PUBLISHER = """
import asyncio, sys
from roomcast.log import open_log
from roomcast.model.retention import Retention
from roomcast.model.message import Draft

async def publish(log, n):
    while True:
        n += 100
        [message] = (await log.append([Draft("a", None, b"%d" % n)])).messages
        print(message.seq, n, flush=True)

async def main():
    log = await open_log("sqlite:" + sys.argv[1], retention=Retention())
    await asyncio.gather(*(publish(log, n) for n in range(8)))

asyncio.run(main())
"""


async def killed_while_publishing(path: Path) -> dict[int, bytes]:
    """What a process had acknowledged when it was killed: bodies by seq."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PUBLISHER, str(path), stdout=subprocess.PIPE
    )
    assert process.stdout
    try:
        async with asyncio.timeout(PATIENCE):
            lines = [await process.stdout.readline() for _ in range(200)]
    finally:
        process.send_signal(signal.SIGKILL)
    lines += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    whole = (line.split() for line in lines if line.endswith(b"\n"))
    return {int(seq): body for seq, body in whole}


# What stands in the way of opening


def text_file(path: Path) -> None:
    path.write_text("Dear diary, " * 1_000)


def foreign_database(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE recipes (name)")
    connection.close()


def newer_version(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA application_id = {opening.APPLICATION_ID}; PRAGMA user_version = 99")
    connection.close()


def damaged_head(path: Path) -> None:
    foreign_database(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3_000)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (text_file, "is not a database: name another file"),
        (foreign_database, "is the SQLite database of another program"),
        (newer_version, "is of version 99, and this roomcast knows versions up to 2"),
        (damaged_head, "is damaged"),
        (Path.mkdir, "is a directory: name a file in it"),
        (lambda path: path.symlink_to("nowhere/log.db"), "does not exist: make it, or name another file"),
    ],
)
async def test_a_file_that_cannot_be_the_log_is_named_in_one_sentence(
    reopen: Reopen, path: Path, make: Callable[[Path], None], says: str
) -> None:
    make(path)
    with pytest.raises(LogUnusable, match=says) as caught:
        await reopen()
    assert "\n" not in caught.value.detail
    assert caught.value.detail.endswith(".")


async def test_a_log_needs_a_file_and_a_known_way_to_wait_for_the_disk(reopen: Reopen) -> None:
    with pytest.raises(LogUnusable, match="use sqlite:PATH"):
        await sqlite.open_log("sqlite:", "", retention=Retention())
    with pytest.raises(LogUnusable, match="use full, normal, off"):
        await reopen(synchronous="sometimes")


async def test_a_file_belongs_to_one_server(log: SqliteLog, path: Path, tmp_path: Path) -> None:
    other_name = tmp_path / "link.db"
    other_name.symlink_to(path)
    for name in (path, other_name):
        with pytest.raises(LogUnusable, match=f"belongs to another running server .process {os.getpid()}."):
            await sqlite.open_log("sqlite:", str(name), retention=Retention())
    await log.close()
    await (await sqlite.open_log("sqlite:", str(path), retention=Retention())).close()


async def test_a_file_that_failed_to_open_is_free_again(reopen: Reopen, path: Path) -> None:
    text_file(path)
    with pytest.raises(LogUnusable, match="not a database"):
        await reopen()
    path.unlink()
    assert seqs(await publish(await reopen(), "a")) == [1]


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user who may write nothing of root's."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """For files that are made meanwhile."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(path: Path) -> dict[str, int]:
    """The permissions of the database and of all files beside it."""
    return {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob(f"{path.name}*")}


async def test_only_their_owner_may_read_new_files(reopen: Reopen, path: Path) -> None:
    with umask(0):
        await publish(await reopen(), "a")
    assert modes(path) == dict.fromkeys(("log.db", "log.db-wal", "log.db-shm", "log.db.lock"), 0o600)


async def test_a_database_keeps_its_permissions_and_the_files_beside_it_have_the_same(
    reopen: Reopen, path: Path
) -> None:
    await (await reopen()).close()
    path.chmod(0o660)
    path.with_name("log.db.lock").unlink()
    with umask(0o077):
        await publish(await reopen(), "a")
    assert modes(path) == dict.fromkeys(("log.db", "log.db-wal", "log.db-shm", "log.db.lock"), 0o660)


@pytest.mark.parametrize("writable", ["directory", "file"])
async def test_a_file_that_may_not_be_written_is_refused(reopen: Reopen, writable: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory) / "log.db"
        await reopen(path=path)
        await (await reopen()).close()
        path.chmod(0o666 if writable == "file" else 0o444)
        Path(directory).chmod(0o777 if writable == "directory" else 0o555)
        path.with_suffix(".db.lock").chmod(0o666 if writable == "directory" else 0o444)
        with without_rights(), pytest.raises(LogUnusable, match="give this user the right to write it"):
            await reopen(path=path)
        Path(directory).chmod(0o777)


async def test_a_database_whose_tables_contradict_each_other_is_damaged(reopen: Reopen, path: Path) -> None:
    log = await reopen()
    await publish(log, "a", "a")
    await log.close()
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM messages WHERE seq = 2")
    connection.close()
    with pytest.raises(LogUnusable, match="its tables contradict each other"):
        await reopen()


async def test_a_page_found_damaged_later_makes_the_log_unavailable(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await reopen()
    await log.append([draft(body=b"<%d>" % n + b"x" * 500) for n in range(1_000)])
    await log.close()
    damage(path, b"<500>")
    with pytest.raises(LogUnusable, match="is damaged"):
        await reopen()
    monkeypatch.setattr(whole, "CHECKED_BYTES", 0)
    monkeypatch.setattr(whole, "CHECKED_MESSAGES", 100)
    log = await reopen()
    with pytest.raises(LogUnavailable, match="damaged"):
        await log.read(rooms("a"), 400, 1_000)
    assert len((await log.read(rooms("a"), 0, 100)).messages) == 100


@pytest.mark.parametrize(("checked_whole", "least"), [(True, 55), (False, 25)])
async def test_swapped_pages_of_the_database_are_never_a_silent_loss(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch, checked_whole: bool, least: int
) -> None:
    """Two of its pages, of tables and indexes. A large one is not checked whole at the start: then no read gives
    less than there is. (A page within a body can be taken for another one's; that is the rest.)"""
    stored = await fill_many_pages(await reopen())
    await (await reopen()).close()
    content = path.read_bytes()
    monkeypatch.setattr(whole, "CHECKED_BYTES", 10**9 if checked_whole else 0)
    monkeypatch.setattr(whole, "CHECKED_MESSAGES", 10)
    told = 0
    pairs = [*combinations(range(1, len(content) // 4096), 2)]
    for first, second in random.Random(1).sample(pairs, 60):
        path.write_bytes(swapped(content, first, second))
        try:
            found = await everything(await reopen())
        except (LogUnusable, LogUnavailable) as error:
            told += "damaged" in error.detail
        else:
            assert found == [[m[:5] for m in stored if room in ("", m.room)] for room in ("", "a", "b", "c")]
    assert told >= least


async def fill_many_pages(log: SqliteLog) -> list[Message]:
    """Most with some messages, and a few with a part of one."""
    for _ in range(5):
        await log.append([draft(room, b"x" * 500) for room in "ab" * 50] + [draft("c", b"x" * 5_000)])
    return await take(log.consumer("test", 0), 505)


async def everything(log: SqliteLog) -> list[list[tuple[Any, ...]]]:
    """All there is but for the bodies, as the tail gives it and as each room has it."""
    found = [[m[:5] for m in await take(log.consumer("test", 0), 505)]]
    for room in "abc":
        found.append([])
        position = 0
        while position < 505:
            page = await log.read(rooms(room), position, 1_000)
            found[-1] += [m[:5] for m in page.messages]
            position = page.position
    return found


def swapped(content: bytes, first: int, second: int) -> bytes:
    pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    pages[first], pages[second] = pages[second], pages[first]
    return b"".join(pages)


def damage(path: Path, text: bytes) -> None:
    """Overwrites the page that has `text`."""
    content = path.read_bytes()
    page = content.index(text) // 4096
    path.write_bytes(content[: page * 4096] + b"\xff" * 4096 + content[(page + 1) * 4096 :])


# Versions


async def test_an_older_database_is_brought_to_the_version_of_today(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await reopen()
    stored = await publish(log, "a")
    scripts = (*opening.MIGRATIONS, "ALTER TABLE rooms ADD COLUMN topic TEXT; CREATE TABLE later (x)")
    with monkeypatch.context() as tomorrow:
        tomorrow.setattr(opening, "MIGRATIONS", scripts)
        log = await reopen()
        assert list((await log.read(rooms("a"), 0, 10)).messages) == stored
        assert seqs(await publish(log, "b")) == [2]
    with pytest.raises(
        LogUnusable, match="is of version 3, and this roomcast knows versions up to 2: start a newer"
    ):
        await reopen()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await publish(await reopen(), "a")
    scripts = (*opening.MIGRATIONS, "DELETE FROM messages; CREATE TABLE messages (x)")
    with monkeypatch.context() as tomorrow:
        tomorrow.setattr(opening, "MIGRATIONS", scripts)
        with pytest.raises(LogUnusable, match="already exists"):
            await reopen()
    assert list((await (await reopen()).read(rooms("a"), 0, 10)).messages) == stored


# A disk that is full


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
    """Lets the database grow no more, as a full disk would."""
    pragma = log._writer._connection.pragma
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
    """How many messages were stored until the disk was full."""
    for stored in range(0, 1_000, 3):
        [answer] = await asyncio.gather(log.append([draft(body=b"x" * 10_000)] * 3), return_exceptions=True)
        if isinstance(answer, LogUnavailable):
            assert "disk is full" in answer.detail
            return stored
    raise AssertionError("the disk was never full")


async def test_a_disk_that_is_full_at_the_start_is_named(reopen: Reopen, small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (1024 * 1024 - 8192))
    with pytest.raises(LogUnusable, match="There is no room on the disk of"):
        await reopen(path=small_disk / "log.db")


# Others who look into the file


async def test_a_write_ahead_log_that_somebody_kept_from_being_emptied_is_small_again(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CHECKPOINT_PAGES", 10)
    monkeypatch.setattr(opening, "WAL_BYTES", 100_000)
    log = await reopen()
    await publish(log, "a")
    reading = apsw.Connection(str(path))
    reading.execute("BEGIN; SELECT count(*) FROM messages").get  # noqa: B018 -- it begins to read with that
    await publish(log, *["a"] * 20, body=b"x" * 10_000)
    assert Path(f"{path}-wal").stat().st_size > 200_000
    reading.close()
    await publish(log, *["a"] * 20)
    assert Path(f"{path}-wal").stat().st_size <= 100_000


@pytest.mark.parametrize("left", [0, 31, 32, 0.01, 0.5, 0.9, -10_000, -4_000])
@pytest.mark.parametrize("anew", [False, True])
async def test_a_write_ahead_log_that_was_cut_is_noticed_by_the_next_commit_wherever_it_was_cut(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch, left: float, anew: bool
) -> None:
    """SQLite itself goes on behind the hole. `anew`: it has begun the log once more from its first page."""
    monkeypatch.setattr(opening, "CHECKPOINT_PAGES", 30 if anew else 10_000)
    log = await reopen()
    await publish(log, *"aaa", body=b"x" * 50_000)
    await publish(log, *"aaa", body=b"x" * 5_000)
    log._writer._look_at = float("inf")  # it is not found by looking now and then
    frames, emptied = log._writer._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    assert (frames < 30, emptied) == (anew, 0)
    end = 32 + frames * (24 + 4_096)
    os.truncate(f"{path}-wal", int(end * left) if 0 < left < 1 else int(end + left) if left < 0 else int(left))
    for _ in range(2):
        with pytest.raises(LogUnavailable, match=r"log\.db-wal was emptied or cut short.*--new-epoch"):
            await publish(log, "a")


async def test_a_write_ahead_log_that_is_begun_anew_again_and_again_is_no_cut(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CHECKPOINT_PAGES", 20)
    log = await reopen()
    for size in (10, 5_000, 400_000, 10) * 8:
        await publish(log, "a", body=b"x" * size)
        await log.append([draft("b", b"x" * 100)] * 30)


async def test_another_program_may_make_the_files_smaller(log: SqliteLog, path: Path) -> None:
    """As backup programs and the hand of an operator do."""
    await publish(log, *"aaaa", body=b"x" * 50_000)
    other = apsw.Connection(str(path))
    list(other.execute("SELECT * FROM state"))
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    assert Path(f"{path}-wal").stat().st_size == 0
    log._writer._look_at = 0.0
    await publish(log, "a")
    size = path.stat().st_size
    other.execute("CREATE TABLE waste AS SELECT * FROM messages; DROP TABLE waste; VACUUM")
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    await publish(log, *"aaaa", body=b"x" * 50_000)
    other.execute("DELETE FROM messages WHERE seq < 0; VACUUM")
    other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    other.close()
    log._writer._look_at = 0.0
    assert seqs(await publish(log, "a")) == [10]
    assert path.stat().st_size >= size


async def test_who_holds_the_file_is_waited_for_once(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_MS", 10)
    log = await reopen()
    monkeypatch.setattr(Writer, "_take_back", lambda self: pytest.fail("there was nothing to take back"))
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match="Another program holds the log's database"):
        await publish(log, "a")
    other.execute("ROLLBACK")
    assert seqs(await publish(log, "a")) == [1]
    other.close()


# What waits for the disk


@pytest.fixture
def groups(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many appends each commit takes."""
    sizes: list[int] = []
    commit = log._writer.commit

    def counting(requests: Sequence[Request], floor: int | None) -> Committed:
        sizes.append(len(requests))
        return commit(requests, floor)

    monkeypatch.setattr(log._writer, "commit", counting)
    return sizes


async def test_appends_of_one_turn_are_one_transaction(log: SqliteLog, groups: list[int]) -> None:
    await asyncio.gather(*(log.append([draft()]) for _ in range(200)))
    assert groups == [200]


async def test_an_append_cancelled_before_its_group_went_stores_nothing(log: SqliteLog) -> None:
    appends = [log.append([draft()]) for _ in range(10)]
    appends[3].cancel()
    await asyncio.gather(*appends, return_exceptions=True)
    assert (await log.bounds()).newest == 9


async def test_appends_gather_while_others_are_committed(log: SqliteLog, groups: list[int]) -> None:
    first = log.append([draft()])

    async def begun() -> bool:
        return bool(groups)

    await until(begun)
    await asyncio.gather(first, *(log.append([draft()]) for _ in range(50)))
    assert groups == [1, 50]


async def test_what_was_appended_before_the_end_is_stored(
    log: SqliteLog, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on its way, and one that waits for it."""
    held, begun = threading.Event(), threading.Event()
    step = log._writer._step

    def holding(*arguments: Any) -> None:
        begun.set()
        assert held.wait(PATIENCE)
        step(*arguments)

    monkeypatch.setattr(log._writer, "_step", holding)
    first = log.append([draft()])
    await asyncio.to_thread(begun.wait, PATIENCE)
    second = log.append([draft()])
    closing = asyncio.create_task(log.close())
    for _ in range(2):  # an end that waited for nobody would have come as far as the writer by then
        await log._call(str)
    held.set()
    await closing
    assert [seqs((await append).messages) for append in (first, second)] == [[1], [2]]
    assert (await (await reopen()).bounds()).newest == 2


async def test_a_publisher_faster_than_the_disk_is_told_that_the_log_is_behind(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "PENDING_APPENDS", 3)
    answers = await asyncio.gather(*(log.append([draft()]) for _ in range(5)), return_exceptions=True)
    assert [isinstance(answer, LogUnavailable) for answer in answers] == [False, False, False, True, True]
    monkeypatch.setattr(pending, "PENDING_BYTES", 10)
    with pytest.raises(LogUnavailable, match="behind"):
        await log.append([draft(body=b"x" * 11)])


async def test_a_crowd_is_committed_in_groups(
    log: SqliteLog, groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "GROUP_MESSAGES", 10)
    answers = await asyncio.gather(*(log.append([draft()]) for _ in range(45)))
    assert seqs([answer.messages[0] for answer in answers]) == list(range(1, 46))
    assert groups == [10, 10, 10, 10, 5]


async def test_a_tail_far_behind_reads_what_is_no_longer_held_for_it(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECENT_BYTES", 100)
    tail = log.consumer("test", 0)
    for _ in range(50):
        await log.append([draft(), draft("b")])
    assert seqs(await take(tail, 100)) == list(range(1, 101))


async def test_a_tail_goes_on_after_the_log_was_away(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    await publish(log, "a", "b")
    tail = log.consumer("test", 0)
    with monkeypatch.context() as outage:
        outage.setitem(QUERIES, "page_of_all", "SELECT nothing")
        with pytest.raises(LogUnavailable):
            await anext(tail)
    assert seqs(await take(tail, 2)) == [1, 2]


async def test_the_reader_cannot_write(log: SqliteLog) -> None:
    with pytest.raises(apsw.ReadOnlyError):
        await log._call(log._reader._connection.execute, "DELETE FROM messages")


async def test_every_room_of_a_page_walks_its_own_index(log: SqliteLog) -> None:
    connection = log._reader._connection
    statement = "EXPLAIN QUERY PLAN " + QUERIES["pick_rooms"].format(arms=_arms(3))
    names: dict[str, int | str] = {"after": 0, "before": 9, "limit": 5, "room0": "a", "room1": "b", "room2": "c"}
    plan = [row[3] for row in await log._call(lambda: list(connection.execute(statement, names)))]
    walks = [step for step in plan if "messages" in step]
    assert walks == ["SEARCH messages USING COVERING INDEX messages_room (room=? AND rowid>? AND rowid<?)"] * 3
    assert not any("TEMP B-TREE" in step for step in plan)


@contextmanager
def steps(connection: apsw.Connection) -> Iterator[list[int]]:
    """The steps of SQLite's machine that each statement takes. They depend on nothing but the data."""
    counts: list[int] = []

    def note(event: Any) -> None:
        counts.append(event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"])

    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, note)
    yield counts
    connection.trace_v2(0)


@pytest.mark.parametrize("names", ["a", "abc"])
async def test_a_page_of_large_messages_costs_the_same_whatever_its_limit(log: SqliteLog, names: str) -> None:
    for _ in range(20):
        await log.append([draft(room, b"x" * 60_000) for room in "abc" * 5])
    pages, counts = [], []
    for limit in (5, 8, 1_000):
        with steps(log._reader._connection) as cost:
            pages.append(await log.read(rooms(*names), 0, limit))
        counts.append(sum(cost))
    assert len({tuple(seqs(page.messages)) for page in pages}) == 1
    assert len(pages[0].messages) == 5
    assert max(counts) < 1.1 * min(counts)


async def test_thirty_followers_catch_up_at_the_cost_of_what_they_read(log: SqliteLog) -> None:
    """Each read costs what it brings: many small messages, then few large ones, by the whole log or by room."""
    for size, count in ((60_000, 15), (100, 1_000)):
        await log.append([draft(body=b"x" * size)] * count)

    async def page(after: int) -> Sequence[Message]:
        return (await log.read(rooms("a"), after, 1_000)).messages

    for read in (page, log._fetch):
        with steps(log._reader._connection) as counts:
            for _ in range(30):
                position = 0
                while position < 1_015:
                    position = (await read(position))[-1].seq
        assert sum(counts) / (30 * 1_015) < 100


@pytest.mark.parametrize(("prefix", "sort"), [("", "name"), ("r/", "name"), ("", "newest")])
async def test_a_page_of_rooms_costs_the_same_however_many_there_are(
    log: SqliteLog, prefix: str, sort: RoomSort
) -> None:
    costs: list[int] = []
    for start in (0, 500, 1_500, 2_500):
        await log.append([draft(f"r/{n}") for n in range(start, start + 1_000)])
        with steps(log._reader._connection) as counts:
            assert len(await log.rooms(prefix, sort, None, 10)) == 10
        costs += counts
    assert max(costs) == min(costs)


async def test_few_rooms_among_many_are_looked_for_in_pieces(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "WALK_ROOMS", 100)
    await log.append([draft(f"r/{n}") for n in range(1_000)])
    with steps(log._reader._connection) as counts:
        found = await log.rooms("r/7", "newest", None, 50)
    assert [stats.room for stats in found] == [f"r/{n}" for n in range(799, 749, -1)]
    assert [len(counts), max(counts) < 100 * 30] == [3, True]
    assert [stats.room for stats in await listed(log, "r/77", "newest", 7)] == [
        *(f"r/{n}" for n in range(779, 769, -1)),
        "r/77",
    ]


SEARCHES: dict[str, Callable[[SqliteLog], Awaitable[object]]] = {
    "the newest of a room": lambda log: log.seek_newest(Selection.of(["busy"]), 100),
    "the newest of many rooms": lambda log: log.seek_newest(Selection.of((), ["r/"]), 3),
    "a page of many rooms": lambda log: log.read(Selection.of((), ["r/"]), 300, 1),
}


@pytest.mark.parametrize("search", SEARCHES)
async def test_others_read_between_the_steps_of_a_search(
    log: SqliteLog, search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append([draft(f"r/{n}") for n in range(300)])
    await log.append([draft("busy")] * 200)
    await publish(log, *(f"r/{n}" for n in range(300)))
    await log.append([draft("busy")] * 200)
    expected = await SEARCHES[search](log)
    monkeypatch.setattr(reader, "WALK_MESSAGES", 50)
    searching = asyncio.ensure_future(SEARCHES[search](log))
    await asyncio.sleep(0)  # it is the first in the queue
    with steps(log._reader._connection) as counts:
        assert await log.get(1)
        assert not searching.done()
        assert await searching == expected
    assert max(counts) < 50 * 60


@pytest.mark.parametrize("deleted", [(), (4, 13, 20)])
async def test_a_search_in_steps_of_any_size_finds_the_same(
    log: SqliteLog, deleted: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_ARMS", (1, 4))
    await publish(log, *"abcxdeyafbxxxxgacybd")
    for seq in deleted:
        await log.delete(seq)
    selections = (Selection.of("a"), Selection.of("xy"), Selection.of((), [""]), Selection.of("x", ["a", "b"]))
    asked = [(one, count, before) for one in selections for count in (0, 1, 3, 30) for before in (None, 2, 15)]
    found = []
    for size in (1_000, 1, 2, 3):
        monkeypatch.setattr(reader, "WALK_MESSAGES", size)
        found.append([await log.seek_newest(*one) for one in asked])
    assert found[1:] == found[:1] * 3


async def test_an_older_roomcast_and_this_one_keep_the_order_of_rooms_for_each_other(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index that is not in the schema is made where it is missing, and is no new version of the file."""
    await publish(await reopen(), *"abc")
    await (await reopen()).close()
    connection = apsw.Connection(str(path))
    connection.execute("DROP INDEX rooms_newest")
    assert connection.pragma("user_version") == 2
    connection.close()
    log = await reopen()
    await publish(log, "a")
    assert [stats.room for stats in await log.rooms("", "newest", None, 2)] == ["a", "c"]


async def test_a_commit_that_trims_is_one_statement(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gives the interpreter's lock away, and gets it back late beside a busy loop. The look after the files
    every 0.1 s is one more statement; here it is not due again."""
    monkeypatch.setattr(writer, "LOOK_SECONDS", 3_600)
    log = await reopen(max_messages=50)
    tail = log.consumer("test", 0)
    for _ in range(60):  # from 51 on it trims, and knows what it will trim next
        await publish(log, "a")
        await anext(tail)
    statements: list[str] = []

    def note(cursor: object, sql: str, bindings: object) -> bool:
        statements.append(sql)
        return True

    log._writer._connection.exec_trace = note
    await publish(log, *"aaaa")
    assert len(statements) >= 4  # one may trim in a moment of quiet
    assert set(statements) == {QUERIES["plain"]}


async def test_what_is_known_of_many_rooms_is_bounded_and_right(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_cache, "ROOMS", 3)
    log = await reopen()
    for _ in range(3):
        await publish(log, *"abcdefgh")
    page = await log.read(rooms("a", "h"), 8, 10)
    assert [(message.room, message.prev) for message in page.messages] == [
        *(("a", 1), ("h", 8), ("a", 9), ("h", 16)),
    ]
    assert len(log._writer._known._newest) <= 3


async def test_no_step_of_the_writer_walks_all_messages(log: SqliteLog) -> None:
    [program] = re.findall("BEGIN(.*)END", QUERIES["make_step"], re.DOTALL)
    statements = [s for s in re.sub(r"NEW\.\w+", "7", program).split(";") if s.strip()]
    assert len(statements) == 7
    for statement in statements:
        explain = f"EXPLAIN QUERY PLAN {statement}"
        plan = await asyncio.to_thread(lambda: list(log._writer._connection.execute(explain)))  # noqa: B023
        assert not any("SCAN messages" in row[3] for row in plan), statement


async def test_both_threads_end_with_the_log(log: SqliteLog) -> None:
    await log.bounds()
    await log.close()

    async def ended() -> bool:
        return not any(thread.name.startswith("roomcast-log") for thread in threading.enumerate())

    await until(ended)


async def test_the_write_ahead_log_is_emptied_at_the_end(log: SqliteLog, path: Path) -> None:
    await publish(log, "a")
    await log.close()
    assert not Path(f"{path}-wal").exists() or Path(f"{path}-wal").stat().st_size == 0
