"""Streams that open or replay while the log is trimmed, the server drains or the log restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening, PendingGap
from roomcast.delivery.hub import Hub
from roomcast.delivery.replay import PAGE_MESSAGES
from roomcast.delivery.stream import Stream
from roomcast.delivery.streams import Streams
from roomcast.log.base import Page
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import MessageId
from roomcast.model.retention import Retention
from roomcast.model.rooms import Selection
from roomcast.model.settings import Settings
from tests.delivery.fakes import RAW, ROOM, FakeConnection, follow, messages, store, until
from tests.running import PATIENCE

BOTH = Selection.of("ab")


class HeldLog(MemoryLog):
    """A log whose reads can be delayed."""

    def __init__(self) -> None:
        super().__init__(Retention())
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def read(self, rooms: Selection, after: int, limit: int, before: int | None = None) -> Page:
        self.asked += 1
        page = await super().read(rooms, after, limit, before)
        await self.answers.wait()
        return page

    def id(self, seq: int) -> str:
        return str(MessageId(self.epoch, seq))


async def logged(rooms: str, count: int) -> tuple[HeldLog, Streams]:
    """A log with so many messages per room; the window is empty, and the hub knows of no trimming."""
    log = HeldLog()
    await store(log, rooms, count)
    return log, Streams(log, Hub(log.epoch, count * len(rooms), 0))


async def trim(log: MemoryLog, kept: int) -> None:
    """Trims all but the newest `kept` messages. One of these is new, and of another room."""
    log._content.retention = Retention(kept)
    await store(log, "z")


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    opened = await Engine.open(Settings(log="memory:"))
    yield opened
    await opened.close()


# Trimmed


async def test_messages_trimmed_before_a_replay_of_all_began_are_not_told() -> None:
    log, streams = await logged("a", 10)
    await trim(log, 5)
    connection = FakeConnection()
    follow(streams, connection, Opening(0, exact=False))
    await until(lambda: connection.told("live"))
    assert connection.told("gap") == []
    assert connection.told("live") == [{"replayed": 4}]


async def test_messages_trimmed_before_a_resume_are_told() -> None:
    log, streams = await logged("a", 10)
    await trim(log, 5)
    connection = FakeConnection()
    follow(streams, connection, 2)
    await until(lambda: connection.told("live"))
    assert connection.told("gap") == [
        {
            "after": log.id(2),
            "resumes_at": log.id(7),
            "rooms": ["a"],
            "lost_at_most": 4,
            "reason": "trimmed",
        }
    ]
    assert connection.ids("gap") == [log.id(6)]
    assert streams.gaps == {"trimmed": 1}


async def test_messages_trimmed_after_a_replay_of_all_began_are_told() -> None:
    log, streams = await logged("a", PAGE_MESSAGES + 100)
    connection = FakeConnection(full_after=2)  # the head, and a page
    stream = follow(streams, connection, Opening(0, exact=False))
    await until(lambda: connection.count(PAGE_MESSAGES))
    await trim(log, 41)
    connection.writable = True
    stream.pump()
    await until(lambda: connection.told("live"))
    [gap] = connection.told("gap")
    assert (gap["after"], gap["resumes_at"]) == (log.id(PAGE_MESSAGES), log.id(PAGE_MESSAGES + 61))
    assert (gap["rooms"], gap["lost_at_most"]) == (["a"], 60)
    assert connection.told("live") == [{"replayed": PAGE_MESSAGES + 40}]


async def test_messages_trimmed_after_a_replay_from_the_window_began_are_told() -> None:
    """The beginning of the replay came from memory, and the page of the log comes second."""
    log = HeldLog()
    hub = Hub(log.epoch, 0, 0)
    streams = Streams(log, hub)
    await store(log, "a", 10)
    hub.feed(messages(1, 10), 0, 0.0)
    connection = FakeConnection(full_after=1)
    stream = follow(streams, connection, Opening(0, exact=False))
    await trim(log, 1)
    await store(log, "a", 1)
    hub.feed(messages(11, 11, room="z") + messages(12, 12), 11, 0.0)
    await store(log, "a", 3)
    hub.feed(messages(13, 15), 14, 0.0)
    connection.writable = True
    stream.pump()
    await until(lambda: connection.count(15))
    [gap] = connection.told("gap")
    assert (gap["after"], gap["resumes_at"], gap["lost_at_most"]) == (log.id(10), log.id(15), 3)


async def test_a_gap_that_widens_while_the_stream_opens_covers_both_losses_and_all_rooms() -> None:
    """A follow with `since` does this: one read finds its start and the loss before it, and the next read finds
    more."""
    log, streams = await logged("ab", 5)
    await trim(log, 7)
    connection = FakeConnection()
    follow(streams, connection, Opening(1, PendingGap(None, ["a"], 3, "trimmed")), BOTH)
    await until(lambda: connection.told("live"))
    [gap] = connection.told("gap")
    assert (gap["after"], gap["rooms"], gap["lost_at_most"]) == (None, ["a", "b"], 3 + 1 + 2)


async def test_a_gap_that_covers_everything_is_not_told_again_for_messages_trimmed_meanwhile() -> None:
    log, streams = await logged("a", 10)
    await trim(log, 5)
    connection = FakeConnection()
    follow(streams, connection, Opening(0, PendingGap("nonsense", ["a"], None, "malformed"), exact=False))
    await until(lambda: connection.told("live"))
    assert [(gap["reason"], gap["lost_at_most"]) for gap in connection.told("gap")] == [("malformed", None)]


async def test_two_losses_without_a_message_between_them_are_one_gap() -> None:
    """The first page has only a loss. When it arrives, the log has been trimmed further."""
    log, streams = await logged("a", 4)
    await trim(log, 1)
    log.answers.clear()
    connection = FakeConnection()
    follow(streams, connection, 1)
    await until(lambda: log.asked)
    log._content.retention = Retention(3)
    await store(log, "aazza")
    streams.hub.restart(log.epoch, 10, 8)
    log.answers.set()
    await until(lambda: connection.told("live"))
    [gap] = connection.told("gap")
    assert (gap["after"], gap["resumes_at"], gap["lost_at_most"]) == (log.id(1), log.id(10), 3 + 2)
    assert connection.ids("gap") == [log.id(9)]


async def test_a_gap_at_the_end_of_the_log_is_told_without_a_next_message() -> None:
    log, streams = await logged("a", 4)
    await trim(log, 1)
    connection = FakeConnection()
    follow(streams, connection, 1)
    await until(lambda: connection.told("live"))
    [gap] = connection.told("gap")
    assert (gap["resumes_at"], gap["lost_at_most"]) == (None, 3)
    assert connection.ids("gap") == connection.ids("live") == [log.id(4)]


async def test_a_client_that_named_a_time_is_told_no_position_that_it_does_not_know() -> None:
    log, streams = await logged("a", 10)
    await trim(log, 5)
    connection = FakeConnection()
    follow(streams, connection, Opening(2, position_known=False))
    await until(lambda: connection.told("live"))
    assert [(gap["after"], gap["lost_at_most"]) for gap in connection.told("gap")] == [(None, 4)]


async def test_losses_that_the_log_named_with_the_position_are_not_told() -> None:
    log, streams = await logged("a", 10)
    await trim(log, 5)
    found = await log.read(ROOM, 0, 1)
    log._content.retention = Retention(3)
    await store(log, "z")
    connection = FakeConnection()
    follow(streams, connection, Opening(0, start_page=found))
    await until(lambda: connection.told("live"))
    assert [gap["lost_at_most"] for gap in connection.told("gap")] == [3]


async def test_a_loss_after_pieces_of_the_window_is_told_from_there() -> None:
    """The stream reads a page, then the window, and then a page again, since the window has left it behind."""
    log = HeldLog()
    await store(log, "a", 2)
    hub = Hub(log.epoch, 2, 0)
    streams = Streams(log, hub)
    connection = FakeConnection(full_after=2)  # the head, and the page
    stream = follow(streams, connection)
    await until(lambda: connection.count(2))
    await store(log, "a", 2)
    hub.feed(messages(3, 4), 0, 0.0)
    connection.writable, connection.full_after = True, 1
    stream.pump()
    assert (connection.count(4), stream.position) == (1, 4)
    await store(log, "a", 3)
    log._content.retention = Retention(1)
    await store(log, "z")
    hub.feed([*messages(5, 7), *messages(8, 8, room="z")], 7, 0.0)
    connection.writable, connection.full_after = True, 99
    stream.pump()
    await until(lambda: connection.told("gap"))
    [gap] = connection.told("gap")
    assert (gap["after"], gap["lost_at_most"]) == (log.id(4), 3)


async def test_a_loss_after_live_messages_is_told_from_there() -> None:
    log = HeldLog()
    await store(log, "a", 2)
    hub = Hub(log.epoch, 2, 0)
    streams = Streams(log, hub)
    connection = FakeConnection(full_after=3)  # the head, the page, and a live write
    stream = follow(streams, connection)
    await until(lambda: connection.told("live"))
    await store(log, "a", 5)
    hub.feed(messages(3, 4), 0, 0.0)
    assert stream in streams.behind
    log._content.retention = Retention(1)
    await store(log, "z")
    hub.feed([*messages(5, 7), *messages(8, 8, room="z")], 7, 0.0)
    connection.writable, connection.full_after = True, 99
    stream.pump()
    await until(lambda: connection.told("gap"))
    [gap] = connection.told("gap")
    assert (gap["after"], gap["lost_at_most"]) == (log.id(4), 3)


# Drained


async def test_a_stream_that_finds_its_start_while_the_server_drains_is_sent_away(engine: Engine) -> None:
    connection = FakeConnection()
    late = Stream(engine.streams, connection, ROOM, RAW, Opening(0))
    await engine.drain()
    late.attach(b"HEAD ")
    assert late.ended
    assert not connection.open
    assert connection.heard.startswith(b"HEAD retry: ")
    assert connection.heard.count(b"retry: ") == 1
    assert connection.told("live") == []
    assert engine.streams.endings == {"drain": 1}
    assert engine.streams.active == engine.streams.behind == set()


async def test_a_stream_that_waits_for_a_page_when_the_drain_begins_is_sent_away_and_hears_no_more() -> None:
    log, streams = await logged("a", 3)
    log.answers.clear()
    connection = FakeConnection()
    stream = follow(streams, connection, 0)
    await until(lambda: log.asked)
    stream.end("drain", 2_000)
    log.answers.set()
    await until(lambda: not streams.replay._waiting)
    assert connection.heard.endswith(b"retry: 2000\n")
    assert connection.count(1) == 0


async def test_waiting_for_a_position_of_a_closed_log_fails_at_once() -> None:
    engine = await Engine.open(Settings(log="memory:"))
    await engine.close()
    with pytest.raises(LogUnavailable, match="The log is closed"):
        async with asyncio.timeout(PATIENCE):
            await engine.tail.reached(1)


# Restarted


async def test_a_start_that_was_found_in_another_history_is_sent_away(engine: Engine) -> None:
    await store(engine.log, "a", 3)
    await engine.tail.reached(3)
    connection = FakeConnection()
    late = Stream(engine.streams, connection, ROOM, RAW, Opening(1, epoch=engine.hub.epoch))
    engine.hub.restart("another", 3, 0)
    late.attach(b"")
    assert connection.heard.startswith(b"retry: ")
    assert connection.told("live") == []
    assert engine.streams.endings == {"error": 1}


async def test_a_start_found_in_this_history_is_taken(engine: Engine) -> None:
    connection = FakeConnection()
    follow(engine.streams, connection, Opening(0, epoch=engine.hub.epoch), head=b"HEAD ")
    assert connection.heard.startswith(b"HEAD retry: 3000\n")
    assert connection.told("live") == [{"replayed": 0}]


async def test_a_page_requested_before_the_log_restarted_is_not_given_to_streams_that_begin_later() -> None:
    """Both follow the same rooms from the same position, and would share the read."""
    log, streams = await logged("a", 3)
    log.answers.clear()
    old = follow(streams, FakeConnection(), 1)
    await until(lambda: log.asked)
    old_epoch, log.epoch = log.epoch, "another"
    streams.hub.restart(log.epoch, 2, 0)
    old.end("error", 2_000)
    connection = FakeConnection()
    follow(streams, connection, 1)
    await until(lambda: log.asked == 2)
    log.answers.set()
    await until(lambda: connection.told("live"))
    assert [connection.count(seq) for seq in (2, 3)] == [1, 0]  # never past the hub: 3 comes live
    assert old_epoch.encode() not in connection.heard


async def test_a_page_of_another_epoch_is_not_given_to_streams_that_have_yet_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log has restarted, and the tail has not told the hub yet."""
    monkeypatch.setattr("roomcast.delivery.replay.RETRY_SECONDS", 0)
    log, streams = await logged("a", 3)
    connection = FakeConnection()
    stream = follow(streams, connection, 0)
    log.epoch = "another"
    await until(lambda: log.asked > 2)
    assert connection.count(1) == 0
    stream.end("error", 2_000)
    await until(lambda: not streams.replay._waiting)
    assert connection.heard.endswith(b"retry: 2000\n")


async def test_only_the_log_knows_the_newest_until_the_window_has_caught_up_with_it() -> None:
    hub = Hub("old", 5, 0)
    hub.restart("test", 10, 0, 20)
    assert [hub.seek_newest(ROOM, count) for count in (0, 1)] == [None, None]
    hub.feed(messages(11, 20), 0, 0.0)
    assert [hub.seek_newest(ROOM, count) for count in (0, 1)] == [20, 19]
