"""Reads of pages: shared ones, waiting ones, and ones that no stream needs any more."""

from __future__ import annotations

import asyncio

import pytest

from roomcast import tasks
from roomcast.delivery.hub import Hub
from roomcast.delivery.replay import PAGE_MESSAGES, READS_AT_ONCE
from roomcast.delivery.streams import Streams
from roomcast.log.base import Page
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import LogUnavailable
from roomcast.model.retention import Retention
from roomcast.model.rooms import Selection
from tests.delivery.fakes import ROOM, FakeConnection, follow, store, until
from tests.running import PATIENCE


class CountingLog(MemoryLog):
    """A log whose reads can be delayed, or fail for a while."""

    def __init__(self) -> None:
        super().__init__(Retention())
        self.answers = asyncio.Event()
        self.asked: list[tuple[Selection, int, int, int | None]] = []
        self.failures = 0

    async def read(self, rooms: Selection, after: int, limit: int, before: int | None = None) -> Page:
        self.asked.append((rooms, after, limit, before))
        await self.answers.wait()
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("It is away.")
        return await super().read(rooms, after, limit, before)


@pytest.fixture
async def log() -> CountingLog:
    log = CountingLog()
    await store(log, "ab", 5)
    return log


@pytest.fixture
def streams(log: CountingLog) -> Streams:
    """Streams over an empty window."""
    return Streams(log, Hub(log.epoch, 10, 0))


async def test_streams_at_one_position_share_a_read(log: CountingLog, streams: Streams) -> None:
    log.answers.set()
    crowd = [FakeConnection() for _ in range(120)]
    for connection in crowd:
        follow(streams, connection)
    await until(lambda: crowd[-1].told("live"))
    assert all(connection.told("live") == [{"replayed": 5}] for connection in crowd)
    assert log.asked == [(ROOM, 0, PAGE_MESSAGES, 11)]
    assert streams.replay.reads == 1


async def test_others_have_their_turn_while_a_crowd_is_given_its_page(
    log: CountingLog, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_TURN_SECONDS", 0)
    crowd = [FakeConnection() for _ in range(10)]
    for connection in crowd:
        follow(streams, connection)
    await until(lambda: log.asked)
    log.answers.set()
    served: set[int] = set()

    def all_served() -> bool:
        served.add(sum(1 for connection in crowd if connection.told("live")))
        return len(crowd) in served

    await until(all_served)
    assert served == set(range(11))


async def test_streams_at_other_positions_or_of_other_rooms_do_not_share_it(
    log: CountingLog, streams: Streams
) -> None:
    log.answers.set()
    one, two, three = FakeConnection(), FakeConnection(), FakeConnection()
    follow(streams, one, 0)
    follow(streams, two, 5)
    follow(streams, three, 0, Selection.of("b"))
    await until(lambda: three.told("live"))
    assert [c.told("live")[0]["replayed"] for c in (one, two, three)] == [5, 2, 5]
    assert streams.replay.reads == 3


async def test_only_so_many_read_at_once_and_nothing_is_read_for_ended_streams(
    log: CountingLog, streams: Streams, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise a client that reconnects repeatedly would queue behind its earlier, dead streams."""
    begun = [follow(streams, FakeConnection(), position) for position in range(READS_AT_ONCE + 2)]
    await until(lambda: len(log.asked) == READS_AT_ONCE)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(log.asked) == READS_AT_ONCE
    begun[-2].connection_lost("client")
    log.answers.set()
    await until(lambda: not streams.behind)
    assert [after for _, after, _, _ in log.asked] == [0, 1, 2, 3, READS_AT_ONCE + 1]
    assert caplog.records == []


async def test_a_page_is_read_as_long_as_one_stream_waits_for_it(log: CountingLog, streams: Streams) -> None:
    for position in range(READS_AT_ONCE):
        follow(streams, FakeConnection(), position)
    gone, stays = FakeConnection(), FakeConnection()
    follow(streams, gone, READS_AT_ONCE).connection_lost("client")
    left = follow(streams, gone, READS_AT_ONCE)
    follow(streams, stays, READS_AT_ONCE)
    await until(lambda: len(log.asked) == READS_AT_ONCE)
    left.connection_lost("client")
    log.answers.set()
    await until(lambda: stays.told("live"))


async def test_a_page_is_asked_for_again_until_the_log_is_back(
    log: CountingLog, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roomcast.delivery.replay.RETRY_SECONDS", 0)
    log.failures = 2
    log.answers.set()
    connection = FakeConnection()
    follow(streams, connection)
    await until(lambda: connection.told("live"))
    assert (len(log.asked), streams.replay.reads) == (3, 1)


async def test_the_end_of_the_server_ends_the_reads_under_way(log: CountingLog, streams: Streams) -> None:
    before = asyncio.all_tasks()
    follow(streams, FakeConnection())
    await until(lambda: log.asked)
    async with asyncio.timeout(PATIENCE):
        await streams.replay.close()
    assert asyncio.all_tasks() == before
    assert not streams.replay._tasks
