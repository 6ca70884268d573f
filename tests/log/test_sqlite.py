"""What is SQLite's own: restarts, crashes, full disks, foreign and damaged files, and what waits for the disk."""

# ruff: noqa: ASYNC240 -- the tests themselves may touch a file on the loop

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from roomcast.log import append_queue as pending
from roomcast.log import consumers, sequencer
from roomcast.log.append_queue import Request
from roomcast.log.base import Bounds, Loss
from roomcast.log.sqlite import group_commit, opening, write_cache
from roomcast.log.sqlite import log as sqlite
from roomcast.log.sqlite.log import SqliteLog
from roomcast.log.sqlite.queries import QUERIES
from roomcast.log.sqlite.reader import _arms
from roomcast.log.sqlite.state import State
from roomcast.log.sqlite.writer import TRIM_BESIDE, Committed, Writer
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.retention import Retention
from tests import disks
from tests.log.acting import PATIENCE, draft, key, publish, rooms, seqs, take, trimmed, until

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
    assert page.losses == [Loss("a", 1), Loss("b", 1), Loss("c", 1)]
    assert (await again.append([draft("c")], key("k"))).repeated
    assert seqs(await take(again.tail(3), 3)) == [4, 5, 6]
    [message] = await publish(again, "a")
    assert (message.seq, message.prev) == (7, 4)


async def test_ids_go_on_after_everything_was_trimmed(reopen: Reopen) -> None:
    log = await reopen()
    await publish(log, "a", "a", body=b"x" * 50)
    log = await reopen(max_bytes=10)
    await trimmed(log, 2)
    log = await reopen(max_bytes=10)
    assert await log.bounds() == Bounds(2, 2, 0)
    assert (await log.seek_time(rooms("a"), 0)).position == 2
    tail = log.tail(0)
    assert seqs(await publish(log, "a")) == [3]
    assert seqs(await take(tail, 1)) == [3]


async def test_times_never_fall_across_a_restart(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer, "clock", lambda: 5_000_000_000)
    await publish(await reopen(), "a")
    monkeypatch.setattr(sequencer, "clock", lambda: 3_000_000_000)
    [message] = await publish(await reopen(), "a")
    assert message.stored_at == 5_000


async def test_a_lowered_cap_is_reached_without_a_publish(reopen: Reopen) -> None:
    log = await reopen()
    await log.append([draft()] * 3_000)
    log = await reopen(max_messages=10)
    await trimmed(log, 2_990)
    assert (await log.read(rooms("a"), 0, 100)).losses == [Loss("a", 2_990)]


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
    assert (await log.rooms())[0].messages == bounds.newest
    stored = await take(log.tail(0), bounds.newest)
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
        (newer_version, "is of version 99, and this roomcast knows versions up to 1"),
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


async def test_a_page_found_damaged_later_makes_the_log_unavailable(reopen: Reopen, path: Path) -> None:
    log = await reopen()
    await log.append([draft(body=b"<%d>" % n + b"x" * 500) for n in range(1_000)])
    await log.close()
    damage(path, b"<500>")
    log = await reopen()
    with pytest.raises(LogUnavailable, match="damaged"):
        await log.read(rooms("a"), 400, 1_000)
    assert len((await log.read(rooms("a"), 0, 100)).messages) == 100


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
        LogUnusable, match="is of version 2, and this roomcast knows versions up to 1: start a newer"
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
    assert await log.bounds() == Bounds(0, 1, 2)
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
    tail = log.tail(0)
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

    def holding(*arguments: Any) -> State:
        begun.set()
        assert held.wait(PATIENCE)
        return step(*arguments)

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
    tail = log.tail(0)
    for _ in range(50):
        await log.append([draft(), draft("b")])
    assert seqs(await take(tail, 100)) == list(range(1, 101))


async def test_a_tail_goes_on_after_the_log_was_away(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    await publish(log, "a", "b")
    tail = log.tail(0)
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


async def test_a_commit_that_trims_is_one_statement(reopen: Reopen) -> None:
    """Each gives the interpreter's lock away, and gets it back late beside a busy loop."""
    log = await reopen(max_messages=50)
    tail = log.tail(0)
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
    assert set(statements) == {QUERIES["step"]}


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
