"""The gaps that followers of rooms with rules and deletes are told, wherever they are cut."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from roomcast.api.query import After
from roomcast.api.start import locate
from roomcast.delivery.engine import Engine
from roomcast.model.message import Draft
from roomcast.model.rooms import Selection
from roomcast.model.settings import Settings
from roomcast.model.settings.room import RoomRow
from tests.delivery.fakes import FakeConnection, follow, store, until
from tests.log import steps

Open = Callable[..., Awaitable[Engine]]

BY_NAME, BY_PREFIX = Selection.of("abc"), Selection.of((), [""])


class Block(NamedTuple):
    """An event as its client parses it."""

    id: str
    name: str
    data: Any


@pytest.fixture(params=["memory:", "sqlite:"])
async def serve(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Starts an engine whose rooms keep so many messages each. The next start opens the same file again."""
    opened: list[Engine] = []

    async def start(**most: int) -> Engine:
        while opened:
            await opened.pop().close()
        rules = tuple(RoomRow(match=room, max_messages=count) for room, count in most.items())
        log = request.param + (f"{tmp_path}/test.db" if request.param == "sqlite:" else "")
        opened.append(await Engine.open(Settings(log=log, max_messages=10**6, room_rules=rules)))
        return opened[-1]

    yield start
    for engine in opened:
        await engine.close()


async def resume(engine: Engine, selection: Selection, id: str) -> list[Block]:
    """All events of a resume after this id, up to `live`."""
    connection = FakeConnection()
    stream = follow(engine.streams, connection, await locate(engine, selection, After(id)), selection)
    await until(lambda: connection.told("live"))
    stream.connection_lost("client")
    return [_block(text) for text in connection.heard.decode().split("\n\n")[:-1]]


def _block(text: str) -> Block:
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    return Block(fields["id"], fields.get("event", "message"), json.loads(fields["data"]))


async def kept(engine: Engine, **counts: int) -> None:
    """Waits until each room has exactly so many messages, and the hub knows that the others are gone."""

    async def reached() -> bool:
        return {row.room: row.messages for row in await engine.log.rooms("", "name", None, 1_000)} == counts

    await steps.until(reached)
    await until(lambda: engine.hub.piece_after(BY_PREFIX, 0) is None)


def id_of(engine: Engine, seq: int) -> str:
    return f"{engine.log.epoch}-{seq}"


@pytest.mark.parametrize("blocks", [1, 2, 5])
@pytest.mark.parametrize("selection", [BY_NAME, BY_PREFIX], ids=["by name", "by prefix"])
async def test_a_cut_after_every_block_tells_each_loss_once(
    serve: Open, selection: Selection, blocks: int
) -> None:
    engine = await serve(a=9, b=4, c=2)
    await store(engine.log, "abc", 30)
    await kept(engine, a=9, b=4, c=2)
    lost = dict.fromkeys("abc", 0)
    # A client is cut after so many blocks, comes back with the last id, and is cut again.
    heard: list[str] = []
    position, live = id_of(engine, 0), False
    while not live:
        for block in (await resume(engine, selection, position))[:blocks]:
            position, live = block.id, block.name == "live"
            if block.name == "gap":
                [room] = block.data["rooms"]
                lost[room] += block.data["lost_at_most"]
            elif block.name == "message":
                heard.append(block.data["room"])
    assert lost == {"a": 21, "b": 26, "c": 28}
    assert [heard.count(room) for room in "abc"] == [9, 4, 2]


async def test_a_flooded_room_takes_nothing_from_199_others(serve: Open) -> None:
    engine = await serve(busy=20)
    quiet = [f"room/{n:03}" for n in range(199)]

    async def batch(rooms: list[str]) -> None:
        await engine.log.append([Draft(room, None, b'{"room":"%b"}' % room.encode()) for room in rooms])

    await batch(quiet)
    for n in range(100):
        await batch(["busy"] * 20)
        if n == 50:
            await batch(quiet)
    await batch(quiet)
    await kept(engine, busy=20, **dict.fromkeys(quiet, 3))
    # A follower that had the first message and was away since hears the others, and of no gap.
    seqs = (8, 199 + 51 * 20 + 8, 199 * 2 + 100 * 20 + 8)  # those of room/007
    for selection in (Selection.of(["room/007"]), Selection.of((), ["room/007"])):
        told = await resume(engine, selection, id_of(engine, seqs[0]))
        assert [(one.name, one.id) for one in told[:-1]] == [("message", id_of(engine, seq)) for seq in seqs[1:]]
    told = await resume(engine, Selection.of((), ["room/"]), id_of(engine, 199))
    assert [one.name for one in told] == ["message"] * 199 * 2 + ["live"]


@pytest.mark.parametrize("selection", [BY_NAME, BY_PREFIX], ids=["by name", "by prefix"])
@pytest.mark.parametrize("serve", ["sqlite:"], indirect=True)
async def test_a_loss_before_a_restart_is_told_after_it(serve: Open, selection: Selection) -> None:
    engine = await serve(a=3)
    await store(engine.log, "abc", 5)
    await engine.log.delete(8)
    await engine.log.delete_room("c")
    await kept(engine, a=3, b=5)  # a deleted message counts until it is trimmed
    before = await resume(engine, selection, id_of(engine, 0))
    engine = await serve(a=3)
    assert await resume(engine, selection, id_of(engine, 0)) == before
    gaps = [block.data for block in before if block.name == "gap"]
    assert sum(gap["lost_at_most"] for gap in gaps) == 2 + 1 + 5
