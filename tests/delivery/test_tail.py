"""The tail by itself: who waits for a position, and what is made of outages and of another history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomcast.delivery.hub import Hub
from roomcast.delivery.stream import Streams
from roomcast.delivery.tail import Tail
from roomcast.log.base import Batch
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import LogRestarted, LogUnavailable
from roomcast.model.retention import Retention
from tests.delivery.fakes import ROOM, FakeConnection, follow, messages, until
from tests.running import PATIENCE


class ScriptedLog(MemoryLog):
    """A log whose tail brings what a test puts into it: batches, and errors."""

    def __init__(self) -> None:
        super().__init__(Retention())
        self.brings: asyncio.Queue[Batch | Exception | None] = asyncio.Queue()
        self.asked: list[int] = []
        """Behind which positions it was followed."""

    def consumer(self, name: str, after: int, *, holds: bool = True) -> Any:
        self.asked.append(after)
        return self._tail()

    async def _tail(self) -> AsyncIterator[Batch]:
        while (brought := await self.brings.get()) is not None:
            if isinstance(brought, Exception):
                raise brought
            yield brought


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture
def hub(log: ScriptedLog) -> Hub:
    return Hub(log.epoch, 0, 0)


@pytest.fixture
async def tail(log: ScriptedLog, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tail]:
    """One that runs, and follows again at once after an outage."""
    monkeypatch.setattr("roomcast.delivery.tail._RETRY_SECONDS", 0)
    tail = Tail(log, hub)
    tail.announced = True
    running = asyncio.create_task(tail.run())
    yield tail
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def within_patience(waiting: asyncio.Task[None]) -> None:
    async with asyncio.timeout(PATIENCE):
        await waiting


async def test_what_the_log_brings_is_fed_with_its_trimming(tail: Tail, log: ScriptedLog, hub: Hub) -> None:
    log.brings.put_nowait(Batch(messages(1, 3), 0))
    log.brings.put_nowait(Batch((), 2))
    await until(lambda: hub.trimmed == 2)
    assert hub.position == 3
    assert log.asked == [0]


async def test_each_who_waits_is_told_when_its_position_is_reached(tail: Tail, log: ScriptedLog) -> None:
    waiting = [asyncio.create_task(tail.reached(position)) for position in (3, 1, 2, 3)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    log.brings.put_nowait(Batch(messages(1, 2), 0))
    await within_patience(waiting[1])
    assert [task.done() for task in waiting] == [False, True, True, False]
    log.brings.put_nowait(Batch(messages(3, 3), 0))
    await within_patience(waiting[0])
    await within_patience(waiting[3])
    await tail.reached(3)  # at once


async def test_who_waits_hears_of_an_outage_and_the_log_is_followed_on(
    tail: Tail, log: ScriptedLog, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    log.brings.put_nowait(Batch(messages(1, 1), 0))
    waiting = asyncio.create_task(tail.reached(2))
    await until(lambda: hub.position)
    for _ in range(3):
        log.brings.put_nowait(LogUnavailable("It is away."))
    with pytest.raises(LogUnavailable, match="It is away"):
        await within_patience(waiting)
    await until(lambda: len(log.asked) == 4)
    assert tail.outage == "It is away."
    log.brings.put_nowait(Batch(messages(2, 2), 0))
    await until(lambda: hub.position == 2)
    assert tail.outage == ""
    assert log.asked == [0, 1, 1, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "the log is away, followers wait; once it answers, all goes on by itself: It is away.",
        "the log is back: nothing is left to do",
    ]


async def test_an_outage_while_the_server_starts_is_no_news_of_its_own(
    tail: Tail, log: ScriptedLog, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    tail.announced = False
    log.brings.put_nowait(LogUnavailable("It is away."))
    log.brings.put_nowait(Batch(messages(1, 1), 0))
    await until(lambda: hub.position)
    assert caplog.records == []


async def test_who_gave_up_waiting_before_an_outage_is_in_nobodys_way(tail: Tail, log: ScriptedLog) -> None:
    waiting = [asyncio.create_task(tail.reached(1)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    log.brings.put_nowait(LogUnavailable("It is away."))
    with pytest.raises(LogUnavailable):
        await within_patience(waiting[1])


async def test_messages_that_do_not_go_on_where_live_followers_are_are_not_fed(log: ScriptedLog, hub: Hub) -> None:
    tail = Tail(log, hub)
    follow(Streams(log, hub), FakeConnection())
    log.brings.put_nowait(Batch(messages(1, 1), 0))
    log.brings.put_nowait(Batch(messages(3, 3), 2, missed=1))
    waiting = asyncio.create_task(tail.reached(2))
    await asyncio.sleep(0)
    with pytest.raises(LogRestarted, match="trimmed before they could be delivered"):
        await tail.run()
    with pytest.raises(LogUnavailable, match="trimmed before they could be delivered"):
        await within_patience(waiting)
    assert (hub.position, hub.trimmed) == (1, 0)


async def test_while_nobody_is_live_what_is_missing_makes_the_window_begin_behind_it(
    tail: Tail, log: ScriptedLog, hub: Hub
) -> None:
    log.brings.put_nowait(Batch([*messages(1, 2), *messages(5, 6)], 0, 6, missed=2))
    await within_patience(asyncio.create_task(tail.reached(6)))
    assert hub.window(ROOM, 3) is None
    piece = hub.window(ROOM, 4)
    assert piece
    assert [entry.message.seq for entry in piece.entries] == [5, 6]


async def test_a_log_under_another_epoch_is_not_followed(log: ScriptedLog, hub: Hub) -> None:
    hub.epoch = "another"
    with pytest.raises(LogRestarted, match="new epoch"):
        await Tail(log, hub).run()
    assert log.asked == []


async def test_a_log_that_was_never_reached_is_followed_until_it_is(log: ScriptedLog) -> None:
    log.epoch = ""
    tail = Tail(log, Hub("", 0, 0))
    log.brings.put_nowait(LogRestarted("the log is there"))
    with pytest.raises(LogRestarted, match="the log is there"):
        await tail.run()


async def test_where_the_hub_fails_the_server_is_not_ready_until_it_is_followed_again(
    log: ScriptedLog, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = Tail(log, hub)

    def fail(*arguments: object) -> None:
        raise ZeroDivisionError

    log.brings.put_nowait(Batch(messages(1, 1), 0))
    with monkeypatch.context() as failing:
        failing.setattr(hub, "feed", fail)
        with pytest.raises(ZeroDivisionError):
            await tail.run()
    assert tail.outage == "delivery failed: see the server's log"
    log.brings.put_nowait(None)
    await tail.run()
    assert tail.outage == ""


async def test_the_end_of_the_log_is_told_to_who_waits_and_to_who_comes_later(log: ScriptedLog, hub: Hub) -> None:
    tail = Tail(log, hub)
    waiting = asyncio.create_task(tail.reached(1))
    await asyncio.sleep(0)
    log.brings.put_nowait(None)
    await tail.run()
    for who in (waiting, asyncio.create_task(tail.reached(1))):
        with pytest.raises(LogUnavailable, match="The log is closed"):
            await within_patience(who)
    await tail.reached(0)
    assert hub.window(ROOM, 0) is not None
