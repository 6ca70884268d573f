"""The engine by itself: how it opens, restarts and ends, and what it reports meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from unittest.mock import AsyncMock

import pytest

from roomcast import tasks
from roomcast.auth.guard import Guard
from roomcast.delivery import engine as engines
from roomcast.delivery import recovery, replay, worker_group
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening
from roomcast.delivery.stream import Stream
from roomcast.log.base import Bounds, Page
from roomcast.log.consumers import Consumer
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import LogRestarted, LogUnavailable, LogUnusable, TooMany
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection
from roomcast.model.settings import Settings
from tests.delivery.fakes import RAW, ROOM, FakeConnection, follow, store, until
from tests.delivery.peers import Linked, linked
from tests.running import PATIENCE

SETTINGS = Settings(log="memory:")


class TroubledLog(MemoryLog):
    """A log that can be away, or restart."""

    def __init__(self, retention: Retention | None = None) -> None:
        super().__init__(retention or Retention())
        self.away = self.away_next = ""
        """Why it is away now, and from the moment on that it is ahead."""
        self.told: Bounds | None = None
        self.looked_at = self.asked = 0
        self.reads: asyncio.Event | None = None
        self.tail_fails = self.hangs = self.closed = self.is_ahead = self.answers_late = False

    async def bounds(self) -> Bounds:
        self.looked_at += 1
        if self.answers_late:
            await asyncio.sleep(0)
        if self.away:
            raise LogUnavailable(self.away)
        told, self.told = self.told, None
        return told or await super().bounds()

    async def read(self, rooms: Selection, after: int, limit: int, before: int | None = None) -> Page:
        self.asked += 1
        if self.reads:
            await self.reads.wait()
        return await super().read(rooms, after, limit, before)

    def consumer(self, name: str, after: int) -> Consumer:
        if self.tail_fails:
            raise LogUnavailable("A page is damaged.")
        if self.is_ahead:
            self.is_ahead = False
            self.away = self.away_next
            raise LogRestarted("trimming has overtaken this process")
        return super().consumer(name, self._consumers.newest if self.hangs else after)

    async def close(self) -> None:
        self.closed = True
        await super().close()

    def restart_log(self, epoch: str = "another") -> None:
        self.epoch = epoch
        self._consumers.restart(self._consumers.newest, self._consumers.trimmed)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_RETRY_SECONDS", 0)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> TroubledLog:
    """The log that every engine of the test opens."""
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
    monkeypatch.setattr(recovery, "_WINDOW_MESSAGES", 3)
    await store(log, "a", 10)
    engine = await Engine.open(SETTINGS)
    rooms = Selection.of("a")
    assert [engine.hub.piece_after(rooms, after) is None for after in (6, 7)] == [True, False]
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


async def test_a_log_that_is_trimmed_past_the_tail_at_the_start_is_followed_from_its_end(log: TroubledLog) -> None:
    await store(log, "a", 3)
    log.is_ahead = True
    engine = await Engine.open(SETTINGS)
    assert engine.hub.position == 3
    assert await engine.ready() == ""
    await engine.close()


@pytest.mark.parametrize("answers_late", [False, True])
async def test_a_log_that_goes_away_while_it_is_read_anew_at_the_start_is_refused(
    log: TroubledLog, answers_late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await store(log, "a", 3)
    log.is_ahead, log.answers_late, log.away_next = True, answers_late, "Its disk cannot be read."
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(LogUnusable, match="Its disk cannot be read"):
            await Engine.open(SETTINGS)
    assert log.closed
    assert [record for record in caplog.records if record.name == "roomcast.tail"] == []


def test_the_hub_is_fed_the_newest_messages_that_are_retained() -> None:
    found = [Bounds(trimmed, newest, 0, 0, 0) for trimmed, newest in ((5, 20), (0, 3), (7, 30_000))]
    assert [recovery.first_position(bounds) for bounds in found] == [5, 0, 20_000]


async def test_a_log_that_was_reached_and_fails_is_refused_and_closed(log: TroubledLog) -> None:
    log.away = "Its disk cannot be read."
    with pytest.raises(LogUnusable, match="Its disk cannot be read"):
        await Engine.open(SETTINGS)
    assert log.closed


async def test_any_failure_while_it_opens_closes_the_log(
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
    assert caplog.records == []  # the error is reported as the reason why the server does not start
    assert asyncio.all_tasks() == before


async def test_a_signal_while_it_opens_closes_the_log(log: TroubledLog) -> None:
    """With lowered durability, a log that was not closed begins a new epoch."""
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
    log.restart_log(there)
    await until(lambda: log.looked_at > 2)
    assert await engine.ready() == "The database is away."
    log.away = ""
    await until(lambda: engine.hub.epoch)
    assert engine.tail.announced
    engine.check()
    assert await engine.ready() == ""
    assert not [record for record in caplog.records if "all streams end" in record.getMessage()]
    await engine.close()


# Restarting


async def test_a_restart_of_the_log_ends_every_stream_and_new_ones_are_served(
    engine: Engine, log: TroubledLog, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = [FakeConnection() for _ in range(3)]
    for connection in crowd:
        follow(engine.streams, connection)
    log.restart_log()
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


async def test_after_a_hole_in_the_same_history_nothing_before_it_is_fed_again(
    engine: Engine, log: TroubledLog
) -> None:
    """The hole would be met again, and end the streams that have come back."""
    connection = FakeConnection()
    follow(engine.streams, connection)
    log.restart_log(log.epoch)
    await until(lambda: not connection.open)
    assert engine.hub.position == 3
    assert engine.hub.piece_after(ROOM, 2) is None


async def test_after_a_restart_the_newest_are_the_logs_to_tell_until_they_were_fed(
    engine: Engine, log: TroubledLog
) -> None:
    log.restart_log()
    await until(lambda: engine.hub.epoch == "another")
    assert engine.hub._newest_at_start == 3


async def test_while_a_restarted_log_cannot_be_read_the_server_says_why_it_is_not_ready(
    engine: Engine, log: TroubledLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.away = "It is read anew."
    log.restart_log()
    looked_at = log.looked_at
    await until(lambda: log.looked_at > looked_at + 1)
    assert await engine.ready() == "It is read anew."
    log.away = ""
    await until(lambda: engine.hub.epoch == "another")
    await engine.tail.reached(3)
    assert await engine.ready() == ""
    assert [record.getMessage() for record in caplog.records if record.name == "roomcast.tail"] == [
        "the log is away, followers wait; once it answers, all goes on by itself: It is read anew.",
        "the log is back: nothing is left to do",
    ]


async def test_after_a_restart_of_the_log_the_server_is_not_ready_until_the_tail_knows(
    engine: Engine, log: TroubledLog
) -> None:
    log.epoch = "another"
    assert await engine.ready() == "the log is being read anew"


async def test_a_log_that_cannot_be_read_is_why_the_server_is_not_ready(engine: Engine, log: TroubledLog) -> None:
    log.away = "It is away."
    assert await engine.ready() == "It is away."


async def test_a_tail_that_does_not_catch_up_is_why_the_server_is_not_ready(
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


async def test_the_end_fails_waiters_also_while_the_log_is_away(log: TroubledLog) -> None:
    log.epoch, log.away, log.tail_fails = "", "The database is away.", True
    engine = await Engine.open(SETTINGS)
    await until(lambda: engine.tail.outage)
    waiting = asyncio.create_task(engine.tail.reached(1))
    await asyncio.sleep(0)
    await engine.close()
    with pytest.raises(LogUnavailable, match="The log is closed"):
        async with asyncio.timeout(PATIENCE):
            await waiting


async def test_the_end_leaves_no_task_and_a_closed_log(log: TroubledLog) -> None:
    before = asyncio.all_tasks()
    engine = await Engine.open(SETTINGS)
    log.reads = asyncio.Event()
    connection, waiting = FakeConnection(), FakeConnection()
    follow(engine.streams, connection)
    engine.hub.restart(log.epoch, 1, 0)
    follow(engine.streams, waiting)  # waits for a page that never comes
    await until(lambda: log.asked)
    await engine.close()
    assert not connection.open
    assert not waiting.open
    assert log.closed
    assert asyncio.all_tasks() == before


def test_a_client_that_is_sent_away_comes_back_after_2_to_10_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.randint", lambda least, most: (least, most))
    assert replay.retry_delay_ms() == (2_000, 10_000)  # type: ignore[comparison-overlap]


# One of several workers


@pytest.fixture
async def workers(log: TroubledLog, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Engine]]:
    """Two engines over one log, which tell each other their counts at once."""
    monkeypatch.setattr(worker_group, "_TELL_SECONDS", 0)
    settings = Settings(log="memory:", max_followers=2, publish_rate=1.0, publish_burst=2)
    peers = linked(2)
    opened = [await Engine.over(settings, log, peer) for peer in peers]
    yield opened
    for engine in opened:
        await engine.close()


async def test_the_limit_of_followers_is_that_of_all_workers(workers: list[Engine]) -> None:
    one, other = workers
    first = follow(one.streams, FakeConnection())
    assert (one.full, other.full) == (False, False)
    follow(other.streams, FakeConnection())
    await until(lambda: one.full and other.full)
    first.end("client")
    await until(lambda: not other.full)
    assert not one.full


async def test_stream_limits_and_rates_are_those_of_all_workers(workers: list[Engine]) -> None:
    one, other = workers
    shop = [engine.streams.limits.of("shop", 1, "key") for engine in workers]
    shop[0].streams = shop[1].streams = 1
    await until(lambda: shop[0].is_exceeded and shop[1].is_exceeded)
    assert one.address_limiter is not None
    assert other.address_limiter is not None
    for _ in range(2):
        one.address_limiter.take("client")
    limits = other.address_limiter

    def is_spent() -> bool:
        try:
            limits.take("client")
        except TooMany:
            return True
        return False

    await until(is_spent)


async def test_a_tickets_stream_at_one_worker_ends_that_at_another(workers: list[Engine]) -> None:
    class Someone:
        until = None
        ticket_nonce = "ticket"

    begun = []
    for engine in workers:
        begun.append(Stream(engine.streams, FakeConnection(), ROOM, RAW, Opening(0), Someone()))
        begun[-1].attach(b"", replaces=True)
    assert [stream.ended for stream in begun] == [True, False]
    assert [len(engine.streams.tenures._replaced["ticket"]) for engine in workers] == [1, 1]


async def test_each_worker_says_why_it_is_not_ready(workers: list[Engine], log: TroubledLog) -> None:
    one, other = workers
    assert await one.readiness() == {}
    other.streams.draining = True
    assert await one.readiness() == {2: "the server is draining"}
    peer = other.worker_group.peers
    assert isinstance(peer, Linked)
    peer.hangs = True
    log.away = "It is away."
    assert await one.readiness() == {1: "It is away.", 2: "it does not answer"}


async def test_one_process_is_full_at_its_own_limit(engine: Engine) -> None:
    engine.followers_limit = 1
    assert not engine.full
    stream = follow(engine.streams, FakeConnection())
    assert engine.full
    stream.end("client")
    assert await engine.readiness() == {}


async def test_revocations_of_the_log_are_in_force_from_the_start(
    engine: Engine, log: TroubledLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard.of(Settings(open=True))
    await log.revoke(Revocation("ann", None, 2**52))
    await engine.enforce(guard)
    assert [row.sub for row in guard._logged] == ["ann"]
    assert engine.streams.rights_changed


async def test_enforcement_starts_although_the_log_is_away(
    engine: Engine, log: TroubledLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> Sequence[Revocation]:
        raise LogUnavailable("It is away.")

    monkeypatch.setattr(log, "revocations", fail)
    await engine.enforce(Guard.of(Settings(open=True)))
    assert engine.enforcement
