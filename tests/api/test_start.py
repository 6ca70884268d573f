"""When a client is told that its id is newer than the log, in the situations of docs/gaps.md that a log in memory
or in SQLite can be in."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import pytest

from roomcast.api.query import After
from roomcast.api.start import locate
from roomcast.delivery.engine import Engine
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import MessageId
from roomcast.model.rooms import Selection
from roomcast.model.settings import Settings
from tests.delivery.fakes import store

ROOM = Selection.of("a")
Opener = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def serving() -> AsyncIterator[Opener]:
    """A function that opens an engine on a log."""
    async with AsyncExitStack() as engines:

        async def serve(log: str, *, new_epoch: bool = False, synchronous: str = "full") -> Engine:
            engine = await Engine.open(Settings(log=log, new_epoch=new_epoch, synchronous=synchronous))
            engines.push_async_callback(engine.close)
            return engine

        yield serve


async def reason(engine: Engine, id: str) -> str:
    """Why a client that resumes after this id is told a gap at once; empty if it is not."""
    gap = (await locate(engine, ROOM, After(id))).gap
    return gap.reason if gap else ""


def copied(path: Path, name: str, *suffixes: str) -> Path:
    """A copy of these files of a log, as a snapshot of the disk or `cp` makes it."""
    copy = path.with_name(name)
    for suffix in suffixes:
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    return copy


async def test_an_id_as_it_was_received_is_never_called_newer_than_an_unharmed_log(serving: Opener) -> None:
    engine = await serving("memory:")
    for seq in range(1, 4):
        await store(engine.log, "a", 1)  # the tail may not have it yet
        assert await reason(engine, str(MessageId(engine.log.epoch, seq))) == ""


async def test_a_restart_of_a_log_in_memory_is_another_epoch(serving: Opener) -> None:
    before, after = await serving("memory:"), await serving("memory:")
    await store(before.log, "a", 1)
    assert await reason(after, str(MessageId(before.log.epoch, 1))) == "epoch"


@pytest.fixture
async def older(serving: Opener, tmp_path: Path) -> tuple[Path, str]:
    """A snapshot of a log in SQLite that was taken under way, and the id of a later message."""
    path = tmp_path / "log.db"
    engine = await serving(f"sqlite:{path}")
    await store(engine.log, "a", 2)
    copy = copied(path, "older.db", "", "-wal")
    await store(engine.log, "a", 1)
    return copy, str(MessageId(engine.log.epoch, 3))


async def test_a_snapshot_that_was_put_back_calls_later_ids_newer_than_the_log(
    serving: Opener, older: tuple[Path, str]
) -> None:
    copy, id = older
    assert await reason(await serving(f"sqlite:{copy}"), id) == "future"


async def test_a_snapshot_that_was_put_back_says_nothing_once_it_has_used_the_number_again(
    serving: Opener, older: tuple[Path, str]
) -> None:
    copy, id = older
    engine = await serving(f"sqlite:{copy}")
    await store(engine.log, "a", 1)
    assert await reason(engine, id) == ""


async def test_a_new_epoch_tells_every_id_from_before(serving: Opener, older: tuple[Path, str]) -> None:
    copy, id = older
    engine = await serving(f"sqlite:{copy}", new_epoch=True)
    await store(engine.log, "a", 1)
    assert await reason(engine, id) == "epoch"


@pytest.mark.parametrize(("synchronous", "told"), [("full", "future"), ("normal", "epoch"), ("off", "epoch")])
async def test_a_snapshot_without_a_clean_end_is_another_epoch_only_below_full_durability(
    serving: Opener, tmp_path: Path, synchronous: str, told: str
) -> None:
    path = tmp_path / "log.db"
    engine = await serving(f"sqlite:{path}", synchronous=synchronous)
    await store(engine.log, "a", 2)
    copy = copied(path, "older.db", "", "-wal")
    await store(engine.log, "a", 1)
    assert await reason(await serving(f"sqlite:{copy}"), str(MessageId(engine.log.epoch, 3))) == told


@pytest.mark.parametrize("synchronous", ["full", "normal", "off"])
async def test_a_log_that_was_moved_without_its_write_ahead_log_calls_later_ids_newer(
    serving: Opener, tmp_path: Path, synchronous: str
) -> None:
    path = tmp_path / "log.db"
    engine = await serving(f"sqlite:{path}")
    await store(engine.log, "a", 2)
    await engine.close()
    engine = await serving(f"sqlite:{path}", synchronous=synchronous)
    await store(engine.log, "a", 1)
    copy = copied(path, "moved.db", "")
    assert await reason(await serving(f"sqlite:{copy}"), str(MessageId(engine.log.epoch, 3))) == "future"


@pytest.mark.parametrize("epoch", ["before", "after"])
async def test_nobody_hears_of_a_gap_before_the_hub_has_met_a_new_epoch(serving: Opener, epoch: str) -> None:
    engine = await serving("memory:")
    id = str(MessageId(engine.log.epoch if epoch == "before" else "after", 1))
    cast(MemoryLog, engine.log).epoch = "after"
    with pytest.raises(LogUnavailable, match="new epoch"):
        await reason(engine, id)
