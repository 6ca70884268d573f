"""The tail by itself: waiting for a position, outages of the log, and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomcast.delivery.hub import Hub
from roomcast.delivery.streams import Streams
from roomcast.delivery.tail import Tail
from roomcast.log.base import Batch
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import LogRestarted, LogUnavailable
from roomcast.model.retention import Retention
from tests.delivery.fakes import ROOM, FakeConnection, follow, messages, until
from tests.running import PATIENCE


class ScriptedLog(MemoryLog):
    """A log whose consumer brings the batches and errors that a test puts into it."""

    def __init__(self) -> None:
        super().__init__(Retention())
        self.brings: asyncio.Queue[Batch | Exception | None] = asyncio.Queue()
        self.asked: list[int] = []
        """The positions from which it was followed."""
        self.open: list[int] = []
        """The positions at which the consumers began that are not closed."""
        self.most_open = 0

    def consumer(self, name: str, after: int) -> Any:
        self.asked.append(after)
        self.open.append(after)
        self.most_open = max(self.most_open, len(self.open))
        return ScriptedConsumer(self, after)


class ScriptedConsumer:
    """A consumer of a scripted log."""

    def __init__(self, log: ScriptedLog, after: int) -> None:
        self._log = log
        self._after = after

    def __aiter__(self) -> ScriptedConsumer:
        return self

    async def __anext__(self) -> Batch:
        brought = await self._log.brings.get()
        if brought is None:
            raise StopAsyncIteration
        if isinstance(brought, Exception):
            raise brought
        return brought

    async def aclose(self) -> None:
        self._log.open.remove(self._after)


@pytest.fixture
def log() -> ScriptedLog:
    return ScriptedLog()


@pytest.fixture
def hub(log: ScriptedLog) -> Hub:
    return Hub(log.epoch, 0, 0)


@pytest.fixture
async def tail(log: ScriptedLog, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tail]:
    """A running tail that follows again at once after an outage."""
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


async def test_batches_of_the_log_are_fed_with_its_trimming(tail: Tail, log: ScriptedLog, hub: Hub) -> None:
    log.brings.put_nowait(Batch(messages(1, 3), 0))
    log.brings.put_nowait(Batch((), 2))
    await until(lambda: hub.trimmed == 2)
    assert hub.position == 3
    assert log.asked == [0]


async def test_each_waiter_returns_when_its_position_is_reached(tail: Tail, log: ScriptedLog) -> None:
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


async def test_an_outage_ends_the_waiting_and_the_log_is_followed_again(
    tail: Tail, log: ScriptedLog, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    log.brings.put_nowait(Batch(messages(1, 1), 0))
    waiting = asyncio.create_task(tail.reached(2))
    await until(lambda: hub.position)
    for _ in range(3):
        log.brings.put_nowait(LogUnavailable("It is away."))
    with pytest.raises(LogUnavailable, match="It is away"):
        await within_patience(waiting)
    assert tail._waiting == []
    await until(lambda: len(log.asked) == 4)
    assert tail.outage == "It is away."
    log.brings.put_nowait(Batch(messages(2, 2), 0))
    await until(lambda: hub.position == 2)
    assert (tail.outage, tail._waiting) == ("", [])
    assert log.asked == [0, 1, 1, 1]
    assert (log.open, log.most_open) == ([1], 2), "without a consumer, the next messages could be trimmed"
    assert [record.getMessage() for record in caplog.records] == [
        "the log is away, followers wait; once it answers, all goes on by itself: It is away.",
        "the log is back: nothing is left to do",
    ]


async def test_a_waiter_that_comes_during_an_outage_waits_for_its_end(tail: Tail, log: ScriptedLog) -> None:
    log.brings.put_nowait(LogUnavailable("It is away."))
    await until(lambda: tail.outage)
    waiting = asyncio.create_task(tail.reached(1))
    await asyncio.sleep(0)
    log.brings.put_nowait(LogUnavailable("It is still away."))
    await until(lambda: len(log.asked) == 3)
    log.brings.put_nowait(Batch(messages(1, 1), 0))
    await within_patience(waiting)


async def test_an_outage_while_the_server_starts_is_no_news_of_its_own(
    tail: Tail, log: ScriptedLog, hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    tail.announced = False
    log.brings.put_nowait(LogUnavailable("It is away."))
    log.brings.put_nowait(Batch(messages(1, 1), 0))
    await until(lambda: hub.position)
    assert caplog.records == []


async def test_a_waiter_that_gave_up_before_an_outage_harms_no_other(tail: Tail, log: ScriptedLog) -> None:
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


async def test_a_hole_while_nobody_is_live_makes_the_window_begin_after_it(
    tail: Tail, log: ScriptedLog, hub: Hub
) -> None:
    log.brings.put_nowait(Batch([*messages(1, 2), *messages(5, 6)], 0, 6, missed=2))
    await within_patience(asyncio.create_task(tail.reached(6)))
    assert hub.piece_after(ROOM, 3) is None
    piece = hub.piece_after(ROOM, 4)
    assert piece
    assert [entry.message.seq for entry in piece.entries] == [5, 6]


async def test_only_batches_that_are_written_to_followers_are_timed(
    tail: Tail, log: ScriptedLog, hub: Hub
) -> None:
    log.brings.put_nowait(Batch(messages(1, 1), 0))
    await within_patience(asyncio.create_task(tail.reached(1)))
    follow(Streams(log, hub), FakeConnection())
    log.brings.put_nowait(Batch(messages(2, 2, room="b"), 0))
    log.brings.put_nowait(Batch((), 1))
    await until(lambda: hub.trimmed)
    assert tail.delivery_times.count == 0
    ahead = messages(3, 3)[0]._replace(stored_at=2 * 10**14)
    log.brings.put_nowait(Batch([ahead], 0))
    await within_patience(asyncio.create_task(tail.reached(3)))
    assert (tail.delivery_times.count, tail.delivery_times.sum, tail.outage) == (1, 0.0, "")
    assert log.asked == [0]


async def test_a_waiter_returns_when_the_hub_restarts_at_a_later_position(log: ScriptedLog, hub: Hub) -> None:
    tail = Tail(log, hub)
    waiting = asyncio.create_task(tail.reached(2))
    await asyncio.sleep(0)
    hub.restart(log.epoch, 3, 0)
    running = asyncio.create_task(tail.run())
    await within_patience(waiting)
    running.cancel()


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
    waiting = asyncio.create_task(tail.reached(1))
    await asyncio.sleep(0)
    with monkeypatch.context() as failing:
        failing.setattr(hub, "feed", fail)
        with pytest.raises(ZeroDivisionError):
            await tail.run()
    with pytest.raises(LogUnavailable, match="delivery failed"):
        await within_patience(waiting)
    assert tail.outage == "delivery failed: see the server's log"
    log.brings.put_nowait(None)
    await tail.run()
    assert tail.outage == ""


async def test_the_end_of_the_log_fails_present_and_later_waiters(log: ScriptedLog, hub: Hub) -> None:
    tail = Tail(log, hub)
    waiting = asyncio.create_task(tail.reached(1))
    await asyncio.sleep(0)
    log.brings.put_nowait(None)
    await tail.run()
    for who in (waiting, asyncio.create_task(tail.reached(1))):
        with pytest.raises(LogUnavailable, match="The log is closed"):
            await within_patience(who)
    await tail.reached(0)
    assert hub.piece_after(ROOM, 0) is not None
