"""The engine by itself: in which order things open, begin anew and end, and what is said meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock

import pytest

from roomcast import tasks
from roomcast.delivery import engine as engines
from roomcast.delivery import replay
from roomcast.delivery.engine import Engine
from roomcast.log.base import Bounds, Page
from roomcast.log.consumers import Consumer
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.retention import Retention
from roomcast.model.rooms import Selection
from roomcast.model.settings import Settings
from tests.delivery.fakes import FakeConnection, follow, store, until

SETTINGS = Settings(log="memory:")


class TroubledLog(MemoryLog):
    """A log that can be away, or begin anew."""

    def __init__(self, retention: Retention | None = None) -> None:
        super().__init__(retention or Retention())
        self.away = ""
        self.told: Bounds | None = None
        self.looked_at = self.asked = 0
        self.reads: asyncio.Event | None = None
        self.tail_fails = self.hangs = self.closed = False

    async def bounds(self) -> Bounds:
        self.looked_at += 1
        if self.away:
            raise LogUnavailable(self.away)
        told, self.told = self.told, None
        return told or await super().bounds()

    async def read(self, rooms: Selection, after: int, limit: int, before: int | None = None) -> Page:
        self.asked += 1
        if self.reads:
            await self.reads.wait()
        return await super().read(rooms, after, limit, before)

    def consumer(self, name: str, after: int, *, holds: bool = True) -> Consumer:
        if self.tail_fails:
            raise LogUnavailable("A page is damaged.")
        return super().consumer(name, self._consumers.newest if self.hangs else after)

    async def close(self) -> None:
        self.closed = True
        await super().close()

    def begin_anew(self, epoch: str = "another") -> None:
        self.epoch = epoch
        self._consumers.restart(self._consumers.newest, self._consumers.trimmed)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_RESTART_SECONDS", 0)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> TroubledLog:
    """What every engine of the test opens."""
    log = TroubledLog()

    async def open_log(*arguments: object, **options: object) -> TroubledLog:
        return log

    monkeypatch.setattr(engines, "open_log", open_log)
    return log


@pytest.fixture
async def engine(log: TroubledLog) -> AsyncIterator[Engine]:
    await store(log, "a", 3)
    opened = await Engine.open(SETTINGS)
    yield opened
    await opened.close()


# Opening


async def test_it_is_open_when_the_tail_is_where_the_log_was(engine: Engine, log: TroubledLog) -> None:
    assert (engine.hub.epoch, engine.hub.position) == (log.epoch, 3)
    assert await engine.ready() == ""
    assert engine.tail.announced
    engine.check()


async def test_it_counts_from_nothing(engine: Engine) -> None:
    assert (engine.published, engine.append_times.count, engine.append_times.sum, engine.requests) == (
        0,
        0,
        0.0,
        {},
    )
    assert engine.settings is SETTINGS
    assert engine.followers_limit == SETTINGS.followers_limit
    assert not engine.draining


async def test_only_the_newest_are_given_to_the_window(log: TroubledLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_WINDOW_MESSAGES", 3)
    await store(log, "a", 10)
    engine = await Engine.open(SETTINGS)
    rooms = Selection.of("a")
    assert [engine.hub.window(rooms, after) is None for after in (6, 7)] == [True, False]
    await engine.close()


async def test_a_log_that_another_server_trims_meanwhile_is_followed_from_where_it_is_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under `torture` of three servers on PostgreSQL, a start ended with status 1."""
    log = TroubledLog(Retention(max_messages=5))
    monkeypatch.setattr(engines, "open_log", AsyncMock(return_value=log))
    await store(log, "a", 3)
    log.told = await log.bounds()
    await store(log, "a", 20)
    engine = await Engine.open(SETTINGS)
    assert engine.hub.position == 23
    assert await engine.ready() == ""
    await engine.close()


async def test_a_log_that_was_reached_and_fails_is_refused_and_closed(log: TroubledLog) -> None:
    log.away = "Its disk cannot be read."
    with pytest.raises(LogUnusable, match="Its disk cannot be read"):
        await Engine.open(SETTINGS)
    assert log.closed


async def test_whatever_fails_while_it_opens_the_log_is_closed(
    log: TroubledLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> Bounds:
        raise ZeroDivisionError

    monkeypatch.setattr(log, "bounds", fail)
    with pytest.raises(ZeroDivisionError):
        await Engine.open(SETTINGS)
    assert log.closed


async def test_a_log_whose_newest_cannot_be_read_is_refused_and_closed(
    log: TroubledLog, caplog: pytest.LogCaptureFixture
) -> None:
    await store(log, "a", 3)
    log.tail_fails = True
    before = asyncio.all_tasks()
    with pytest.raises(LogUnusable, match="A page is damaged"):
        await Engine.open(SETTINGS)
    assert log.closed
    assert caplog.records == []  # it is the reason why it does not start, and told as that
    assert asyncio.all_tasks() == before


async def test_a_signal_while_it_opens_closes_the_log(log: TroubledLog) -> None:
    """With lowered durability a log that was not closed goes on under a new epoch."""
    await store(log, "a", 3)
    log.hangs = True
    before = asyncio.all_tasks()
    opening = asyncio.create_task(Engine.open(SETTINGS))
    await until(lambda: log.looked_at)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert log.closed
    assert asyncio.all_tasks() == before


async def test_a_log_that_is_away_at_the_start_is_served_when_it_is_there(
    log: TroubledLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    there, log.epoch, log.away = log.epoch, "", "The database is away."
    engine = await Engine.open(SETTINGS)
    with pytest.raises(LogUnavailable, match="not reached yet"):
        engine.check()
    log.begin_anew(there)
    await until(lambda: log.looked_at > 2)
    assert await engine.ready() == "The database is away."
    log.away = ""
    await until(lambda: engine.hub.epoch)
    assert engine.tail.announced
    engine.check()
    assert await engine.ready() == ""
    assert not [record for record in caplog.records if "all streams end" in record.getMessage()]
    await engine.close()


# Beginning anew


async def test_where_the_log_begins_anew_every_stream_ends_and_new_ones_are_served(
    engine: Engine, log: TroubledLog, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = [FakeConnection() for _ in range(3)]
    for connection in crowd:
        follow(engine.streams, connection)
    log.begin_anew()
    await until(lambda: engine.hub.epoch == "another")
    await until(lambda: not any(connection.open for connection in crowd))
    assert all(connection.heard.count(b"retry: ") == 2 for connection in crowd)
    assert engine.streams.endings == {"error": 3}
    assert "all streams end and resume" in caplog.text
    await store(log, "a")
    await engine.tail.reached(4)
    connection = FakeConnection()
    follow(engine.streams, connection)
    assert b"id: another-4\n" in connection.heard
    assert await engine.ready() == ""


async def test_until_the_log_that_begins_anew_is_read_the_server_says_why_it_is_not_ready(
    engine: Engine, log: TroubledLog
) -> None:
    log.away = "It is read anew."
    log.begin_anew()
    looked_at = log.looked_at
    await until(lambda: log.looked_at > looked_at + 1)
    assert await engine.ready() == "It is read anew."
    log.away = ""
    await until(lambda: engine.hub.epoch == "another")
    await engine.tail.reached(3)
    assert await engine.ready() == ""


async def test_a_log_that_began_anew_is_not_ready_before_the_tail_knows(engine: Engine, log: TroubledLog) -> None:
    log.epoch = "another"
    assert await engine.ready() == "the log is being read anew"


async def test_a_log_that_cannot_be_asked_is_why_the_server_is_not_ready(engine: Engine, log: TroubledLog) -> None:
    log.away = "It is away."
    assert await engine.ready() == "It is away."


async def test_a_tail_that_does_not_come_is_why_the_server_is_not_ready(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(position: int) -> None:
        raise TimeoutError

    monkeypatch.setattr(engine.tail, "reached", never)
    assert await engine.ready() == "the tail is behind the log"


# Ending


async def test_a_drain_sends_everybody_away_in_turns_with_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_TURN_SECONDS", 0)
    crowd = [FakeConnection() for _ in range(5)]
    for connection in crowd:
        follow(engine.streams, connection)
    draining = asyncio.create_task(engine.drain())
    left = {5}

    def all_left() -> bool:
        left.add(len(engine.streams.active))
        return not engine.streams.active

    await until(all_left)
    await draining
    assert left == {5, 4, 3, 2, 1, 0}
    assert engine.draining
    assert await engine.ready() == "the server is draining"
    assert engine.streams.endings == {"drain": 5}


async def test_the_end_leaves_no_task_and_a_closed_log(log: TroubledLog) -> None:
    before = asyncio.all_tasks()
    engine = await Engine.open(SETTINGS)
    log.reads = asyncio.Event()
    connection, waiting = FakeConnection(), FakeConnection()
    follow(engine.streams, connection)
    engine.hub.restart(log.epoch, 1, 0)
    follow(engine.streams, waiting)  # for a page that does not come
    await until(lambda: log.asked)
    await engine.close()
    assert not connection.open
    assert not waiting.open
    assert log.closed
    assert asyncio.all_tasks() == before


def test_who_is_sent_away_comes_back_after_2_to_10_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.randint", lambda least, most: (least, most))
    assert replay.retry_delay_ms() == (2_000, 10_000)  # type: ignore[comparison-overlap]
