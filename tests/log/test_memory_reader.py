"""Reads of the log in memory over more rooms than it looks into at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from roomcast import tasks
from roomcast.log.memory import MemoryLog
from roomcast.log.memory.newest import AT_ONCE
from roomcast.model.retention import Retention
from roomcast.model.rooms import Selection
from tests.log.steps import draft, seqs

ROOMS = AT_ONCE + 1
EVERY_ROOM = Selection.of((), ["room/"])


@pytest.fixture
async def log() -> MemoryLog:
    """`ROOMS` rooms with a message each, then three times as many messages of another room, then two more."""
    log = MemoryLog(Retention())
    await log.append([draft(f"room/{number:03}") for number in range(ROOMS)])
    await log.append([draft("other") for _ in range(3 * ROOMS)])
    await log.append([draft("room/000"), draft("room/001")])
    return log


NEWEST = [4 * ROOMS + 1, 4 * ROOMS + 2]


@pytest.mark.parametrize(
    ("after", "limit", "expected"),
    [
        (0, 3, [1, 2, 3]),
        (ROOMS - 1, 9, [ROOMS, *NEWEST]),
        (ROOMS, 9, NEWEST),
        (ROOMS, 1, NEWEST[:1]),
        (NEWEST[-1], 9, []),
    ],
    ids=["the first", "over the messages of another room", "only the newest", "one of them", "none"],
)
async def test_a_page_of_many_rooms_leaves_out_those_of_others(
    log: MemoryLog, after: int, limit: int, expected: list[int]
) -> None:
    assert seqs((await log.read(EVERY_ROOM, after, limit)).messages) == expected


async def test_a_page_of_many_rooms_ends_before_a_position_without_messages(log: MemoryLog) -> None:
    page = await log.read(EVERY_ROOM, ROOMS, 9, before=NEWEST[0])
    assert (page.messages, page.position) == ([], NEWEST[0] - 1)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, NEWEST[0]), (2, NEWEST[0] - 1), (3, ROOMS - 1), (ROOMS + 2, 0)],
)
async def test_the_newest_of_many_rooms_are_found_behind_messages_of_others(
    log: MemoryLog, count: int, expected: int
) -> None:
    assert await log.seek_newest(EVERY_ROOM, count) == expected


async def test_a_message_deleted_after_a_read_has_found_it_is_not_on_the_page(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_TURN_SECONDS", 0.0)
    reading = asyncio.ensure_future(log.read(EVERY_ROOM, AT_ONCE - 2, 9))
    await asyncio.sleep(0)  # it has found the message before seq `AT_ONCE`, and lets others run
    assert not reading.done()
    await log.delete_room(f"room/{AT_ONCE - 2:03}")
    page = await reading
    assert seqs(page.messages) == [AT_ONCE, ROOMS, *NEWEST]
    assert [loss.last for loss in page.losses] == [AT_ONCE - 1]


async def test_a_room_deleted_during_a_read_of_many_rooms_is_not_on_the_page(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_TURN_SECONDS", 0.0)
    reading = asyncio.ensure_future(log.read(EVERY_ROOM, ROOMS, 9))
    await asyncio.sleep(0)
    assert not reading.done()
    for room in ("room/000", "room/001"):
        await log.delete_room(room)
    page = await reading
    assert (page.messages, page.position) == ([], NEWEST[-1])
    assert {loss.room for loss in page.losses} == {"room/000", "room/001"}


@pytest.mark.parametrize(
    ("search", "turns"),
    [
        (lambda log: log.read(EVERY_ROOM, 0, ROOMS), 1),
        (lambda log: log.read(EVERY_ROOM, 2 * ROOMS, 9, before=3 * ROOMS + 2), 5),
        (lambda log: log.seek_newest(EVERY_ROOM, ROOMS, before=ROOMS + 1), 1),
    ],
    ids=["message by message", "room by room", "backwards"],
)
async def test_a_search_over_many_rooms_lets_other_tasks_run(
    log: MemoryLog,
    search: Callable[[MemoryLog], Awaitable[object]],
    turns: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number of turns does not depend on how fast the machine is."""
    taken: list[None] = []

    async def turn(self: tasks.Turns) -> None:
        taken.append(None)

    monkeypatch.setattr(tasks.Turns, "next", turn)
    await search(log)
    assert len(taken) == turns
