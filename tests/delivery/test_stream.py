"""Streams over the log in memory: their writes, and how they survive failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from roomcast import tasks
from roomcast.delivery.engine import Engine
from roomcast.delivery.heartbeat import Heartbeat
from roomcast.delivery.hub import Hub
from roomcast.delivery.piece import PIECE_BYTES
from roomcast.delivery.stream import _PIECES_A_TURN, Stream
from roomcast.delivery.streams import Streams
from roomcast.log.base import Page
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import Draft
from roomcast.model.retention import Retention
from roomcast.model.rooms import Selection
from roomcast.model.settings import Settings
from tests.delivery.fakes import FakeConnection, follow, messages, until
from tests.running import PATIENCE


@pytest.fixture
async def service() -> AsyncIterator[Engine]:
    opened = await Engine.open(Settings(log="memory:", heartbeat=0.05))
    yield opened
    await opened.close()


async def publish(service: Engine, text: bytes) -> None:
    await service.log.append([Draft("a", None, b'{"room":"a","text":"%b"}' % text)])


async def test_a_stream_that_is_asked_for_more_twice_writes_nothing_twice() -> None:
    """Its sink was full after the last piece of its turn, and takes more before its next turn."""
    hub = Hub("test", 0, 0)
    hub.feed(messages(1, _PIECES_A_TURN + 1, PIECE_BYTES), 0, 0.0)
    connection = FakeConnection(full_after=1 + _PIECES_A_TURN)  # the head goes by itself
    begun = follow(Streams(MemoryLog(Retention()), hub), connection)
    assert not connection.writable
    connection.writable = True
    begun.pump()
    last = hub.position + 1
    hub.feed(messages(last, last), 0, 0.0)
    await asyncio.sleep(0)
    assert [connection.count(seq) for seq in range(1, last + 1)] == [1] * last


class Failing(MemoryLog):
    """A log whose reads fail by a defect."""

    async def read(self, rooms: Selection, after: int, limit: int, before: int | None = None) -> Page:
        raise ZeroDivisionError


async def test_streams_whose_page_cannot_be_read_end_and_block_no_later_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    streams = Streams(Failing(Retention()), Hub("test", 10, 0))
    for _ in range(2):
        one, two = FakeConnection(), FakeConnection()
        follow(streams, one)
        ended = follow(streams, two)
        await until(lambda ended=ended: ended.ended)  # type: ignore[misc]
        assert [one.heard.count(b"retry: "), two.heard.count(b"retry: ")] == [2, 2]
    assert streams.endings == {"error": 4}
    assert streams.replay._waiting == {}
    assert "ZeroDivisionError" in caplog.text


async def test_a_stream_that_cannot_take_its_page_leaves_those_behind_it_theirs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = MemoryLog(Retention())
    await log.append([Draft("a", None, b'{"room":"a"}')])
    streams = Streams(log, Hub(log.epoch, 1, 0))
    broken, sound = FakeConnection(), FakeConnection()
    first, _ = follow(streams, broken), follow(streams, sound)
    told = Stream._write_piece

    def advance(self: Stream, piece: object, head: bytes = b"", missing: object = ()) -> bool:
        if self is first:
            raise ZeroDivisionError
        return told(self, piece, head, missing)  # type: ignore[arg-type]

    monkeypatch.setattr(Stream, "_write_piece", advance)
    await until(lambda: not broken.open)
    await until(lambda: sound.count(1))
    assert sound.open
    assert streams.endings == {"error": 1}


async def test_where_delivery_fails_every_stream_ends_and_it_goes_on_afterwards(
    service: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("roomcast.delivery.recovery._RETRY_SECONDS", 0)
    connection = FakeConnection()
    follow(service.streams, connection)

    def fail(*args: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as failing:
        failing.setattr(service.hub, "feed", fail)
        await publish(service, b"lost?")
        await until(lambda: not connection.open)
    assert "delivery failed" in caplog.text
    assert service.streams.endings == {"error": 1}
    async with asyncio.timeout(PATIENCE):
        await service.tail.reached(1)
    again = FakeConnection()
    follow(service.streams, again)
    assert again.count(1) == 1
    assert await service.ready() == ""


async def test_while_delivery_fails_the_server_is_not_ready(
    service: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = asyncio.Event()

    async def fail() -> None:
        failed.set()
        raise ZeroDivisionError

    monkeypatch.setattr(service.tail, "_follow", fail)
    monkeypatch.setattr("roomcast.delivery.recovery._RETRY_SECONDS", 1_000)
    restarted = asyncio.create_task(service._recovery.run())
    await failed.wait()
    await until(lambda: caplog.records)
    assert await service.ready() == "delivery failed: see the server's log"
    restarted.cancel()


async def test_waiting_for_a_position_fails_when_the_log_is_closed(service: Engine) -> None:
    waiting = asyncio.create_task(service.tail.reached(7))
    await asyncio.sleep(0)
    await service.log.close()
    with pytest.raises(LogUnavailable):
        async with asyncio.timeout(PATIENCE):
            await waiting


async def test_one_failure_does_not_end_the_heartbeats(
    service: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection = FakeConnection()
    follow(service.streams, connection)

    def fail(self: Heartbeat, turns: tasks.Turns) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr(Heartbeat, "_watch", fail)
    await until(lambda: connection.heard.endswith(b":\n"))
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_the_end_waits_for_every_client_that_has_yet_to_take_its_last_bytes() -> None:
    streams = Streams(MemoryLog(Retention()), Hub("test", 0, 0))
    follow(streams, FakeConnection()).connection_lost("client")  # long before
    begun = [follow(streams, FakeConnection()) for _ in range(2)]
    for stream in begun:
        stream.end("drain", 2_000)
    flushing = asyncio.create_task(streams.flushed(PATIENCE))
    for stream in begun:
        await asyncio.sleep(0)
        assert not flushing.done()
        stream.connection_lost("client")
    async with asyncio.timeout(PATIENCE / 2):
        await flushing
    assert streams.endings == {"client": 1, "drain": 2}


async def test_the_end_does_not_wait_for_clients_that_have_left() -> None:
    streams = Streams(MemoryLog(Retention()), Hub("test", 0, 0))
    follow(streams, FakeConnection()).connection_lost("client")
    async with asyncio.timeout(PATIENCE / 2):
        await streams.flushed(PATIENCE)
    assert (streams.opened, streams.endings) == (1, {"client": 1})
    assert streams.active == streams.behind == set()


async def test_a_client_that_does_not_take_its_last_bytes_in_time_is_cut() -> None:
    streams = Streams(MemoryLog(Retention()), Hub("test", 0, 0))
    connection = FakeConnection()
    follow(streams, connection).end("drain", 2_000)
    connection.open = True  # its last bytes are on their way
    await streams.flushed(0)
    assert not connection.open


async def test_a_client_that_takes_nothing_yet_has_its_head_and_then_the_rest() -> None:
    hub = Hub("test", 0, 0)
    hub.feed(messages(1, 2), 0, 0.0)
    connection = FakeConnection()
    connection.writable = False
    begun = follow(Streams(MemoryLog(Retention()), hub), connection, head=b"HEAD ")
    assert connection.heard == b"HEAD retry: 3000\n"
    connection.writable = True
    begun.pump()
    assert [connection.count(seq) for seq in (1, 2)] == [1, 1]
    assert connection.heard.count(b"retry: ") == 1


async def test_a_head_comes_before_the_log_has_answered() -> None:
    connection = FakeConnection()
    follow(Streams(MemoryLog(Retention()), Hub("test", 10, 0)), connection, head=b"HEAD ")
    assert connection.heard == b"HEAD retry: 3000\n"


async def test_a_long_replay_goes_on_by_itself_in_turns_with_others() -> None:
    hub = Hub("test", 0, 0)
    last = 3 * _PIECES_A_TURN
    hub.feed(messages(1, last, PIECE_BYTES), 0, 0.0)
    connection = FakeConnection()
    follow(Streams(MemoryLog(Retention()), hub), connection, head=b"HEAD ")
    assert not connection.told("live")
    await until(lambda: connection.told("live"))
    assert [connection.count(seq) for seq in range(1, last + 1)] == [1] * last
    assert connection.heard.count(b"HEAD retry: 3000\n") == 1
    assert connection.writes == last + 2  # the head and `live`, beside pieces that others hold as well


async def test_a_stream_that_falls_behind_continues_where_it_was_and_is_live_again() -> None:
    hub = Hub("test", 0, 0)
    streams = Streams(MemoryLog(Retention()), hub)
    connection = FakeConnection(full_after=2)
    begun = follow(streams, connection)
    assert streams.behind == set()
    hub.feed(messages(1, 1), 0, 0.0)
    assert streams.behind == {begun}
    hub.feed(messages(2, 3), 0, 0.0)
    assert connection.count(2) == 0
    connection.writable = True
    begun.pump()
    assert streams.behind == set()
    hub.feed(messages(4, 4), 0, 0.0)
    assert [connection.count(seq) for seq in (1, 2, 3, 4)] == [1, 1, 1, 1]
    assert connection.told("live") == [{"replayed": 0}]


async def test_a_stream_that_ends_during_its_audiences_heartbeats_is_not_behind_for_ever() -> None:
    """Heartbeats to a large audience take several turns, and the log may restart between two of them."""
    hub = Hub("test", 0, 0)
    streams = Streams(MemoryLog(Retention()), hub)
    begun = follow(streams, FakeConnection())
    [audience] = hub.audiences.values()
    hub.restart("another", 0, 0)
    begun.end("error", 2_000)
    audience.write(b":\n")
    assert streams.behind == set()


async def test_nothing_is_written_to_an_ended_stream_and_the_log_says_why_it_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "roomcast.streams")
    hub = Hub("test", 0, 0)
    streams = Streams(MemoryLog(Retention()), hub)
    connection = FakeConnection()
    follow(streams, connection, rooms=Selection.of("ba")).end("slow")
    writes = connection.writes
    hub.feed(messages(1, 1), 0, 0.0)
    assert connection.writes == writes
    assert hub.audiences == {}
    [record] = caplog.records
    assert record.getMessage() == "a stream of a, b ended: slow"
    assert vars(record)["fields"] == {"rooms": ["a", "b"], "reason": "slow"}


async def test_a_stream_ends_also_if_its_end_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "roomcast.streams")
    streams = Streams(MemoryLog(Retention()), Hub("test", 0, 0))
    follow(streams, FakeConnection()).end("slow")
    assert streams.endings == {"slow": 1}
    assert caplog.records == []
