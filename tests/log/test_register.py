"""How many messages of a room are lost: the register, in memory and in the database."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from roomcast.log import register
from roomcast.log.base import Log
from roomcast.log.memory import MemoryLog, room_index
from roomcast.log.register import LEAST_REGISTERED, Register, register_size
from roomcast.log.sqlite import unregistered
from roomcast.log.sqlite.log import SqliteLog, open_log
from roomcast.model.errors import LogUnavailable
from roomcast.model.retention import Retention
from tests.log.steps import draft, publish, rooms, told, trimmed

KEPT = 10
RANDOM = random.Random(18)


@pytest.fixture(autouse=True)
def small_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unregistered, "ROW_MESSAGES", 7)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = await open_log("sqlite:", str(tmp_path / "log.db"), retention=Retention(KEPT))
    yield log
    await log.close()


async def store(log: Log, count: int) -> list[str]:
    """Publishes `count` messages to three rooms in a random order. Returns the rooms."""
    names = RANDOM.choices("abc", (1, 5, 20), k=count)
    await publish(log, *names)
    return names


async def check(log: Log, names: list[str], begin: int = 0) -> None:
    """Checks that each room's losses are exact from each position from `begin` on."""
    end = len(names) - KEPT
    await trimmed(log, end)
    for after in range(begin, end):
        for room in "abc":
            lost = names[after:end].count(room)
            assert told(await log.read(rooms(room), after, 1), after) == ({room: lost} if lost else {})


def test_the_register_never_counts_too_few_messages() -> None:
    names = RANDOM.choices("abc", (1, 5, 20), k=100)
    for most in (10, 30, 1_000):
        listed = Register(0, most)
        for seq, room in enumerate(names, 1):
            listed.note(room, [seq])
            listed.reached(seq)
        assert listed.since <= max(0, 100 - most)
        for after in range(91):
            there, told_of = names[after:90].count("b"), listed.between("b", after, 90)
            assert told_of == there if after >= listed.since else told_of >= there


@pytest.mark.parametrize(
    ("max_messages", "listed"), [(1, LEAST_REGISTERED), (LEAST_REGISTERED, 2 * LEAST_REGISTERED)]
)
def test_the_register_lists_twice_as_many_messages_as_the_log_retains(max_messages: int, listed: int) -> None:
    assert register_size(max_messages) == listed


def test_messages_that_are_not_listed_yet_count_as_messages_of_the_room() -> None:
    listed = Register(0, 10)
    listed.note("a", [1, 2])
    listed.reached(4)
    assert [listed.between("a", after, 7) for after in (1, 4, 5)] == [1 + 3, 3, 2]


def test_the_register_lists_no_more_than_about_twice_as_many_messages_as_it_must() -> None:
    listed = Register(0, 4)
    for first in (1, 5, 9):
        listed.note("a", range(first, first + 4))
        listed.reached(first + 3)
    assert (listed.since, listed.reach) == (8, 12)
    assert [listed.between("a", after, last) for after, last in ((0, 3), (0, 12), (6, 9))] == [3, 12, 3]


async def test_the_register_survives_restarts(log: SqliteLog, tmp_path: Path) -> None:
    names = await store(log, 25)
    for _ in range(3):
        await log.close()
        log = await open_log("sqlite:", str(tmp_path / "log.db"), retention=Retention(KEPT))
        names += await store(log, 25)
        await check(log, names)
    await log.close()


async def test_the_register_survives_kill_9(log: SqliteLog, tmp_path: Path) -> None:
    names = await store(log, 33)
    await trimmed(log, 33 - KEPT)
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"log.db{suffix}", tmp_path / f"copy.db{suffix}")
    copy = await open_log("sqlite:", str(tmp_path / "copy.db"), retention=Retention(KEPT))
    try:
        await check(copy, names)
        names += await store(copy, 20)
        await check(copy, names)
    finally:
        await copy.close()


async def test_messages_are_registered_before_a_lower_cap_trims_them(log: SqliteLog, tmp_path: Path) -> None:
    await publish(log, *"abbab")
    await log.close()
    log = await open_log("sqlite:", str(tmp_path / "log.db"), retention=Retention(1))
    try:
        await trimmed(log, 4)
        assert [told(await log.read(rooms("b"), after, 1), after) for after in range(4)] == [
            {"b": 2},
            {"b": 2},
            {"b": 1},
            {},
        ]
    finally:
        await log.close()


async def test_a_failed_commit_leaves_the_register_unchanged(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await store(log, 30)
    run = log._writer._database.run

    def fail(name: str, parameters: dict[str, object]) -> None:
        run(name, parameters)
        raise apsw.FullError("no space")

    for _ in range(8):
        with monkeypatch.context() as patched:
            patched.setattr(log._writer._database, "run", fail)
            patched.setattr(log._writer._database, "_take_back", lambda: None)
            with pytest.raises(LogUnavailable):
                await log.append([draft("b")])
        names.append("b")  # it was stored all the same
        names += await store(log, 3)
    await check(log, names)
    # Each message names the one before it, or this would be damage.
    assert len((await log.read(rooms("b"), len(names) - KEPT, KEPT)).messages) >= 2


async def test_before_the_register_begins_a_loss_is_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "LEAST_REGISTERED", 60)
    log = await open_log("sqlite:", str(tmp_path / "bounded.db"), retention=Retention(KEPT))
    try:
        names = await store(log, 40)
        await check(log, names)
        names += await store(log, 400)  # the reader does not read the register meanwhile, and rows are dropped
        await check(log, names, len(names) - 60)
        for after in (0, 50, 200):
            lost = names[after:-KEPT].count("a")
            assert lost <= told(await log.read(rooms("a"), after, 1), after)["a"] <= len(names) - KEPT - after
        rows = list(log._writer._database.connection.execute("SELECT first, last FROM register ORDER BY last"))
        assert 60 <= sum(last - first + 1 for first, last in rows) < 80
        for _ in range(2):
            await check(log, names, rows[0][0] - 1)
            await log.close()
            log = await open_log("sqlite:", str(tmp_path / "bounded.db"), retention=Retention(KEPT))
    finally:
        await log.close()


async def test_a_deleted_room_in_memory_lists_only_the_messages_deleted_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room_index, "LISTED_GONE", 20)
    log = MemoryLog(Retention())
    for _ in range(100):
        await log.append([draft("a")])
    await log.delete_room("a")
    assert told(await log.read(rooms("a"), 90, 1), 90) == {"a": 10}
    index = log._content.rooms["a"]
    assert (len(index), len(index.seqs)) == (0, 20)


async def test_a_room_in_memory_lists_the_messages_trimmed_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_index, "LISTED_GONE", 20)
    log = MemoryLog(Retention(KEPT))
    names = await store(log, 40)
    await check(log, names)
    names += await store(log, 600)
    await check(log, names, len(names) - KEPT - 20)
    for after in (0, 50, 200):
        lost = names[after:-KEPT].count("c")
        assert lost <= told(await log.read(rooms("c"), after, 1), after)["c"] <= len(names) - KEPT - after
    assert len(log._content.rooms["c"].seqs) <= KEPT + 2 * 20
    await log.close()
