"""Restarts of a log in SQLite, crashes, and clocks that change in between."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from roomcast.log import clock
from roomcast.log.sqlite import group_commit, integrity
from roomcast.log.sqlite.log import SqliteLog
from roomcast.log.sqlite.writer import TRIM_EXTRA
from roomcast.model.retention import Retention, RoomRule
from roomcast.model.revocation import Revocation
from tests.log.sqlite.conftest import Reopen
from tests.log.steps import (
    PATIENCE,
    bounds,
    draft,
    everything,
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


async def test_a_restart_continues_where_the_log_ended(reopen: Reopen) -> None:
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


async def test_revocations_survive_a_restart(reopen: Reopen) -> None:
    now = clock.clock() // 1_000_000
    rows = {Revocation("42", None, now), Revocation("42", "https://a", now)}
    log = await reopen()
    for row in rows:
        await log.revoke(row)
    assert set(await (await reopen()).revocations()) == rows


async def test_ids_continue_after_everything_was_trimmed(reopen: Reopen) -> None:
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


@pytest.mark.parametrize("checked_bytes", [0, 10**9])
async def test_a_log_with_holes_and_one_that_is_being_emptied_open_again(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch, checked_bytes: int
) -> None:
    """No count of their messages is known in advance, at least not in a large database."""
    monkeypatch.setattr(integrity, "CHECKED_BYTES", checked_bytes)
    log = await reopen()
    await publish(log, *"abab")
    log.prepare_rules(Retention(rooms=(RoomRule("a", max_messages=1),)))()
    await until_newest(log, "a", 1)
    log = await reopen()
    assert seqs(await everything(log, "a", "b")) == [2, 3, 4]
    await log.close()
    connection = apsw.Connection(str(path))
    connection.execute(
        "INSERT INTO purges VALUES ('b', 4);"
        "UPDATE rooms SET messages = 0, bytes = 0, trimmed = 4 WHERE room = 'b';"
        "UPDATE state SET messages = 1, bytes = 2"
    )
    connection.close()
    log = await reopen()
    assert seqs(await everything(log, "a", "b")) == [3]


async def until_newest(log: SqliteLog, room: str, messages: int) -> None:
    """Waits until a room has so many messages."""

    async def cut() -> bool:
        return len(await everything(log, room)) == messages

    await until(cut)


async def test_times_never_decrease_across_a_restart(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "clock", lambda: 5_000_000_000)
    await publish(await reopen(), "a")
    monkeypatch.setattr(clock, "clock", lambda: 3_000_000_000)
    [message] = await publish(await reopen(), "a")
    assert message.stored_at == 5_000


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the time in ms."""
    return lambda ms: monkeypatch.setattr(clock, "clock", lambda: ms * 1_000_000)


async def test_times_begin_anew_when_all_messages_from_the_future_are_trimmed(
    reopen: Reopen, set_clock: Callable[[int], None]
) -> None:
    set_clock(9_000_000)
    await publish(await reopen(), "a", "b", body=b"x" * 50)
    set_clock(1_000)
    await trimmed(await reopen(max_bytes=10), 2)
    log = await reopen()
    assert [message.stored_at for message in await publish(log, "a", "a")] == [1_000, 1_000]
    assert await log.seek_time(rooms("a"), 1_000) == 0  # times from the future are moved to now
    assert await log.seek_time(rooms("a", "b", "c"), 1_001) == 4


async def test_times_continue_while_a_message_from_the_future_is_retained(
    reopen: Reopen, set_clock: Callable[[int], None]
) -> None:
    set_clock(9_000_000)
    await publish(await reopen(), "a", "b")
    set_clock(1_000)
    log = await reopen(max_messages=1)
    await trimmed(log, 1)
    assert (await publish(log, "a"))[0].stored_at == 9_000_000


async def test_times_begin_anew_under_a_requested_new_epoch(
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


async def test_no_time_changes_under_a_new_epoch_that_was_not_requested(
    reopen: Reopen, path: Path, set_clock: Callable[[int], None]
) -> None:
    """A machine without a battery starts in 1970 after a power cut."""
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


async def test_a_clock_behind_at_the_start_is_logged_then(
    reopen: Reopen, set_clock: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    set_clock(9_000_000)
    await publish(await reopen(), "a")
    set_clock(1_000)
    log = await reopen()
    assert caplog.text.count("start the server once with --new-epoch") == 1
    await publish(log, "a")
    assert caplog.text.count("start the server once with --new-epoch") == 1


async def test_a_clock_behind_messages_that_are_gone_is_not_logged(
    reopen: Reopen, set_clock: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    set_clock(9_000_000)
    log = await reopen()
    await publish(log, "a")
    await log.delete_room("a")
    set_clock(1_000)
    [message] = await publish(await reopen(), "b")
    assert (message.stored_at, caplog.messages) == (1_000, [])


async def test_a_lowered_cap_is_reached_without_a_publish(reopen: Reopen) -> None:
    log = await reopen()
    await log.append([draft()] * 3_000)
    log = await reopen(max_messages=10)
    await trimmed(log, 2_990)
    assert told(await log.read(rooms("a"), 0, 100), 0) == {"a": 2_990}


async def test_a_commit_trims_at_most_twice_what_it_adds_plus_a_constant(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "TRIM_PAUSE", 3_600)
    log = await reopen()
    await log.append([draft()] * 500)
    log = await reopen(max_messages=10)
    await log.append([draft()] * 4)
    assert (await log.bounds()).trimmed == 2 * 4 + TRIM_EXTRA


async def test_a_log_with_a_lost_end_continues_under_a_new_epoch(reopen: Reopen) -> None:
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
    assert (await reopen(synchronous=synchronous)).epoch == log.epoch  # it was closed cleanly


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
    """Kills a process that publishes. Returns the messages that it had acknowledged: bodies by seq."""
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
