"""Damaged databases: damage is found, and never read as less than there is."""

# ruff: noqa: ASYNC240 -- the tests themselves may touch a file on the loop

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path
from typing import Any

import apsw
import pytest

from roomcast.log.sqlite import integrity
from roomcast.log.sqlite.log import SqliteLog
from roomcast.log.sqlite.queries import QUERIES
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.message import Message
from roomcast.model.retention import Retention, RoomRule
from tests.log.sqlite.conftest import Reopen
from tests.log.steps import draft, publish, retained, rooms, take, told, trimmed


@pytest.mark.parametrize("checked_bytes", [0, 10**9])
@pytest.mark.parametrize(
    "contradiction",
    [
        "DELETE FROM messages WHERE seq = 2",
        "UPDATE state SET trimmed = 1",
        "UPDATE state SET newest = 1",
        "UPDATE rooms SET newest = 1",
        "UPDATE rooms SET bytes = bytes + 1",
    ],
)
async def test_a_database_whose_tables_contradict_each_other_is_damaged(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch, contradiction: str, checked_bytes: int
) -> None:
    monkeypatch.setattr(integrity, "CHECKED_BYTES", checked_bytes)
    log = await reopen()
    await publish(log, "a", "a")
    await log.close()
    change(path, contradiction)
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
    monkeypatch.setattr(integrity, "CHECKED_BYTES", 0)
    monkeypatch.setattr(integrity, "CHECKED_MESSAGES", 100)
    log = await reopen()
    with pytest.raises(LogUnavailable, match="damaged"):
        await log.read(rooms("a"), 400, 1_000)
    assert len((await log.read(rooms("a"), 0, 100)).messages) == 100


async def test_messages_that_vanish_from_an_open_database_are_damage(reopen: Reopen, path: Path) -> None:
    log = await reopen()
    await publish(log, *"aaa")
    change(path, "DELETE FROM messages WHERE seq > 1")
    for read in (log.get(2), take(log.consumer("test", 1), 1), log.read(rooms("a"), 0, 10)):
        with pytest.raises(LogUnavailable, match="damaged"):
            await read
    assert await log.get(1)
    assert await log.get(4) is None


async def test_a_page_of_another_table_is_damage(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("SELECT 'no JSON', x''", "VALUES ('[]', x''), ('[]', x'')"):
        monkeypatch.setitem(QUERIES, "page_of_all", other)
        with pytest.raises(LogUnavailable, match="damaged"):
            await log.get(1)


async def test_messages_that_damage_kept_out_of_the_log_do_not_count_for_the_rule_of_their_room(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.prepare_rules(Retention(rooms=(RoomRule("a", max_messages=2),)))()
    with monkeypatch.context() as damaged:
        damaged.setitem(QUERIES, "load_unregistered", "SELECT 0, 'no JSON'")
        for _ in range(3):
            with pytest.raises(LogUnavailable, match="damaged"):
                await publish(log, "a")
    await publish(log, "a", "a")
    await log._commits.do(lambda floor: log._writer.walk("", floor))
    assert await retained(log, "a") == [1, 2]


@pytest.mark.parametrize("was_read", [False, True])
async def test_a_loss_that_the_register_does_not_list_is_a_bound(
    reopen: Reopen, path: Path, was_read: bool
) -> None:
    log = await reopen(max_messages=1)
    await publish(log, *"abbab")
    await trimmed(log, 4)
    if was_read:
        assert told(await log.read(rooms("a"), 1, 10), 1) == {"a": 1}
    await publish(log, *"abbab")
    await trimmed(log, 9)
    change(path, "DELETE FROM register")
    assert told(await log.read(rooms("a"), 6, 10), 6) == {"a": 3}  # it is one, and all three came after 6


def change(path: Path, statement: str) -> None:
    """Changes the database beside its server."""
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(("checked_whole", "least"), [(True, 55), (False, 25)])
async def test_swapped_pages_of_the_database_are_never_a_silent_loss(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch, checked_whole: bool, least: int
) -> None:
    """Swaps two pages of tables and indexes. If the database is too large for a full check at the start, still no
    read may return less than there is. (The other pairs: a page within one body may be taken for a page of
    another.)"""
    stored = await fill_many_pages(await reopen())
    await (await reopen()).close()
    content = path.read_bytes()
    monkeypatch.setattr(integrity, "CHECKED_BYTES", 10**9 if checked_whole else 0)
    monkeypatch.setattr(integrity, "CHECKED_MESSAGES", 10)
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
    """Fills most pages with some messages each, and a few with a part of one."""
    for _ in range(5):
        await log.append([draft(room, b"x" * 500) for room in "ab" * 50] + [draft("c", b"x" * 5_000)])
    return await take(log.consumer("test", 0), 505)


async def everything(log: SqliteLog) -> list[list[tuple[Any, ...]]]:
    """All messages without their bodies, as a consumer gets them and as each room has them."""
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
    """Overwrites the page that contains `text`."""
    content = path.read_bytes()
    page = content.index(text) // 4096
    path.write_bytes(content[: page * 4096] + b"\xff" * 4096 + content[(page + 1) * 4096 :])


async def test_messages_that_are_trimmed_while_they_are_read_are_no_damage(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = log._reader._state()._replace(newest=5, messages=5)
    states = [before, before._replace(trimmed=5, messages=0)]
    monkeypatch.setattr(log._reader, "_state", lambda: states.pop(0))
    assert log._reader.fetch(0) == []
