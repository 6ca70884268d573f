"""The cost of reads, and searches in steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw
import pytest

from roomcast.log.base import RoomSort
from roomcast.log.sqlite import group_commit, reader, statements
from roomcast.log.sqlite.log import SqliteLog
from roomcast.log.sqlite.queries import QUERIES
from roomcast.log.sqlite.statements import _arms
from roomcast.model.message import Message
from roomcast.model.rooms import Selection
from tests.log.sqlite.conftest import Reopen
from tests.log.steps import draft, listed, publish, rooms, seqs, take, trimmed


async def test_the_reader_cannot_write(log: SqliteLog) -> None:
    with pytest.raises(apsw.ReadOnlyError):
        await log._call(log._reader._connection.execute, "DELETE FROM messages")


async def test_every_room_of_a_page_is_read_by_the_index(log: SqliteLog) -> None:
    connection = log._reader._connection
    statement = "EXPLAIN QUERY PLAN " + QUERIES["pick_rooms"].format(arms=_arms(3))
    names: dict[str, int | str] = {"after": 0, "before": 9, "limit": 5, "room0": "a", "room1": "b", "room2": "c"}
    plan = [row[3] for row in await log._call(lambda: list(connection.execute(statement, names)))]
    walks = [step for step in plan if "messages" in step]
    assert walks == ["SEARCH messages USING COVERING INDEX messages_room (room=? AND rowid>? AND rowid<?)"] * 3
    assert not any("TEMP B-TREE" in step for step in plan)


@contextmanager
def steps(connection: apsw.Connection) -> Iterator[list[int]]:
    """Counts the steps of SQLite's virtual machine for each statement. They depend only on the data."""
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
    """Each read costs as much as it returns: many small messages, then few large ones, of the whole log or of a
    room."""
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


async def test_few_rooms_among_many_are_searched_in_steps(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WALK_ROOMS", 100)
    await log.append([draft(f"r/{n}") for n in range(1_000)])
    with steps(log._reader._connection) as counts:
        found = await log.rooms("r/7", "newest", None, 50)
    assert [stats.room for stats in found] == [f"r/{n}" for n in range(799, 749, -1)]
    assert [len(counts), max(counts) < 100 * 30] == [3, True]
    assert len(await log.rooms("r/77", "newest", None, 11)) == 11  # the last one is far from the others
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
async def test_other_reads_go_between_the_steps_of_a_search(
    log: SqliteLog, search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append([draft(f"r/{n}") for n in range(300)])
    await log.append([draft("busy")] * 200)
    await publish(log, *(f"r/{n}" for n in range(300)))
    await log.append([draft("busy")] * 200)
    expected = await SEARCHES[search](log)
    monkeypatch.setattr(reader, "WALK_MESSAGES", 50)
    searching = asyncio.ensure_future(SEARCHES[search](log))
    await asyncio.sleep(0)  # so that it is the first in the queue
    with steps(log._reader._connection) as counts:
        assert await log.get(1)
        assert not searching.done()
        assert await searching == expected
    assert max(counts) < 50 * 60


@pytest.mark.parametrize("deleted", [(), (4, 13, 20)])
async def test_a_search_in_steps_of_any_size_finds_the_same(
    log: SqliteLog, deleted: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "ARMS", (1, 4))
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


async def test_deletions_that_are_trimmed_during_a_search_are_told_as_trimmed_only(reopen: Reopen) -> None:
    log = await reopen(max_messages=4)
    await publish(log, *"aaaa")
    for seq in (2, 3):
        await log.delete(seq)
    search = log._reader.page(rooms("a"), 1, 1, None)
    assert await log._call(next, search) is None  # it has found that the second is deleted
    await publish(log, *"bb")
    await trimmed(log, 2)
    page = await log._call(next, search)
    while page is None:
        page = await log._call(next, search)
    assert [(loss.last, loss.number) for loss in page.losses] == [(2, 0), (3, 2)]


async def test_rows_that_a_deleted_room_has_left_are_read_nowhere(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "TRIM_PAUSE", 1_000)
    await publish(log, *"aab")
    await log.delete_room("a")
    assert seqs(await take(log.consumer("test", 0), 1)) == [3]
    assert await log.get(1) is None
    everything = [Selection.of("ab"), Selection.of((), [""])]
    for arms in ((1, 4), (1,)):
        monkeypatch.setattr(statements, "ARMS", arms)
        for selection in everything:
            assert seqs((await log.read(selection, 0, 9)).messages) == [3]
            assert await log.seek_newest(selection, 2) == 2
