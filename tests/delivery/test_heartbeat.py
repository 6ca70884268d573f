"""Heartbeats on silent streams, and the end of slow ones, without waiting for either."""

from __future__ import annotations

import asyncio
import time

import pytest

from roomcast import tasks
from roomcast.delivery import heartbeat as heartbeats
from roomcast.delivery.gap import Opening
from roomcast.delivery.heartbeat import Heartbeat
from roomcast.delivery.hub import Hub
from roomcast.delivery.stream import Stream
from roomcast.delivery.streams import Streams
from roomcast.log.memory import MemoryLog
from roomcast.model.retention import Retention
from roomcast.model.rooms import Selection
from tests.delivery.fakes import RAW, ROOM, FakeConnection, follow, messages

LONG_AGO = -1_000.0
"""In the loop's time."""


def live(streams: Streams, written_at: float) -> FakeConnection:
    """A live follower that was last written to at this time."""
    connection = FakeConnection()
    stream = Stream.__new__(Stream)
    streams.hub.join(ROOM, RAW, connection, stream, written_at)
    return connection


@pytest.fixture
def streams() -> Streams:
    return Streams(MemoryLog(Retention()), Hub("test", 0, 0))


@pytest.fixture
def waiting(streams: Streams) -> tuple[Stream, FakeConnection]:
    """A stream whose client has 100 bytes to take."""
    connection = FakeConnection(full_after=1)
    connection.unread = 100
    streams.hub.feed(messages(1, 1), 0, 0.0)
    stream = follow(streams, connection)
    connection.heard = b""
    return stream, connection


async def steps(heartbeat: Heartbeat, count: int) -> None:
    for _ in range(count):
        await heartbeat._look()


async def test_silence_is_filled(streams: Streams) -> None:
    connection = live(streams, LONG_AGO)
    heartbeat = Heartbeat(streams, heartbeat=15, slow_after=30)
    await steps(heartbeat, 2)
    assert connection.heard == b":\n"


async def test_a_delivery_is_a_sign_of_life(streams: Streams) -> None:
    connection = live(streams, LONG_AGO)
    streams.hub.feed(messages(1, 1), 0, asyncio.get_running_loop().time())
    await steps(Heartbeat(streams, heartbeat=15, slow_after=30), 1)
    assert connection.writes == 1
    assert connection.count(1) == 1


async def test_a_delivery_to_another_room_is_no_sign_of_life(streams: Streams) -> None:
    connection = live(streams, LONG_AGO)
    streams.hub.feed(messages(1, 1, room="b"), 0, asyncio.get_running_loop().time())
    await steps(Heartbeat(streams, heartbeat=15, slow_after=30), 1)
    assert connection.heard == b":\n"


async def test_a_follower_that_joins_an_audience_is_no_sign_of_life_for_the_others(streams: Streams) -> None:
    connection = live(streams, LONG_AGO)
    live(streams, asyncio.get_running_loop().time())
    await steps(Heartbeat(streams, heartbeat=15, slow_after=30), 1)
    assert connection.heard == b":\n"


async def test_a_crowd_is_written_to_in_slices_and_none_twice(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeats, "_SLICE", 2)
    monkeypatch.setattr(tasks, "_TURN_SECONDS", 0)
    crowd = [live(streams, LONG_AGO) for _ in range(5)]
    beating = asyncio.create_task(steps(Heartbeat(streams, heartbeat=15, slow_after=30), 1))
    await asyncio.sleep(0)
    assert [connection.writes for connection in crowd] == [1, 1, 0, 0, 0]
    streams.hub.leave(ROOM, RAW, crowd[2])
    await beating
    assert [connection.writes for connection in crowd] == [1, 1, 0, 1, 1]


async def test_a_heartbeat_comes_before_the_silence_that_is_promised(streams: Streams) -> None:
    now = asyncio.get_running_loop().time()
    early, late = live(streams, now - 11), FakeConnection()
    await steps(Heartbeat(streams, heartbeat=15, slow_after=30), 1)
    assert (early.heard, late.heard) == (b":\n", b"")


async def test_no_heartbeat_comes_soon_after_a_write(streams: Streams) -> None:
    connection = live(streams, asyncio.get_running_loop().time() - 9)
    await steps(Heartbeat(streams, heartbeat=15, slow_after=30), 1)
    assert connection.heard == b""


async def test_a_client_that_takes_nothing_is_closed_after_so_many_steps(
    streams: Streams, waiting: tuple[Stream, FakeConnection]
) -> None:
    heartbeat = Heartbeat(streams, heartbeat=15, slow_after=30)  # a step is a second
    await steps(heartbeat, 29)
    assert not waiting[0].ended
    await steps(heartbeat, 1)
    assert waiting[0].ended
    assert waiting[1].heard == b""
    assert not waiting[1].open
    assert streams.endings == {"slow": 1}
    assert heartbeat._seen == {}


async def test_a_client_that_takes_a_byte_has_the_whole_time_again(
    streams: Streams, waiting: tuple[Stream, FakeConnection]
) -> None:
    heartbeat = Heartbeat(streams, heartbeat=15, slow_after=30)
    await steps(heartbeat, 29)
    waiting[1].unread -= 1
    await steps(heartbeat, 30)
    assert not waiting[0].ended


async def test_a_client_that_takes_pieces_of_one_size_is_not_slow(
    streams: Streams, waiting: tuple[Stream, FakeConnection]
) -> None:
    heartbeat = Heartbeat(streams, heartbeat=15, slow_after=30)
    for _ in range(60):
        await steps(heartbeat, 1)
        waiting[0].position += 1
    assert not waiting[0].ended


async def test_a_stream_that_waits_for_the_log_gets_heartbeats_and_is_not_slow(streams: Streams) -> None:
    connection = FakeConnection()
    stream = follow(streams, connection)
    streams.behind.add(stream)
    connection.heard = b""
    heartbeat = Heartbeat(streams, heartbeat=15, slow_after=30)
    await steps(heartbeat, 10)
    assert connection.heard == b""
    await steps(heartbeat, 1)
    assert connection.heard == b":\n"
    await steps(heartbeat, 22)
    assert not stream.ended
    assert connection.heard == b":\n" * 3


async def test_a_stream_that_waits_for_the_log_is_not_slow_however_rare_heartbeats_are(streams: Streams) -> None:
    stream = follow(streams, FakeConnection())
    streams.behind.add(stream)
    await steps(Heartbeat(streams, heartbeat=100, slow_after=5), 30)
    assert not stream.ended


@pytest.mark.parametrize(("heartbeat", "step"), [(15, 1.0), (0.05, 0.01)])
async def test_it_looks_five_times_a_heartbeat_and_once_a_second(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, heartbeat: float, step: float
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 1:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await Heartbeat(streams, heartbeat, slow_after=30).run()
    assert slept == [step, step]


class Someone:
    """A holder of a right that ends at a time."""

    ticket_nonce = ""

    def __init__(self, until: float | None = None) -> None:
        self.until = until


def held(streams: Streams, until: float | None = None) -> Stream:
    """A live stream of a holder."""
    stream = Stream(streams, FakeConnection(), ROOM, RAW, Opening(0), Someone(until))
    stream.attach(b"")
    return stream


async def test_streams_end_with_their_right_and_others_go_on(streams: Streams) -> None:
    ended, valid, never = held(streams, time.time() - 1), held(streams, time.time() + 99), held(streams)
    await steps(Heartbeat(streams, heartbeat=15, slow_after=30), 1)
    assert [stream.ended for stream in (ended, valid, never)] == [True, False, False]
    assert streams.endings == {"expired": 1}


async def test_each_stream_is_checked_once_after_rights_have_changed(streams: Streams) -> None:
    kept, ended, stranger = held(streams), held(streams), follow(streams, FakeConnection())
    checked: list[object] = []

    def may_follow(holder: object, selection: Selection) -> bool:
        checked.append(holder)
        assert not streams.rights_changed, "a change during the check must not be lost"
        return holder is kept.holder

    heartbeat = Heartbeat(streams, heartbeat=15, slow_after=30)
    streams.recheck(may_follow)
    await steps(heartbeat, 2)
    assert [stream.ended for stream in (kept, ended, stranger)] == [False, True, False]
    assert len(checked) == 2
    assert streams.endings == {"revoked": 1}


async def test_the_slowest_stream_says_how_far_behind_followers_are(
    streams: Streams, waiting: tuple[Stream, FakeConnection]
) -> None:
    heartbeat = Heartbeat(streams, heartbeat=15, slow_after=30)
    streams.hub.feed(messages(2, 6), 0, 0.0)
    await steps(heartbeat, 1)
    assert streams.farthest_behind == 5
    waiting[0].position = 9  # as after the log has restarted at an earlier position
    await steps(heartbeat, 1)
    assert streams.farthest_behind == 0
    waiting[0].end("client")
    await steps(heartbeat, 1)
    assert (streams.farthest_behind, heartbeat._seen) == (0, {})


async def test_a_stream_that_catches_up_during_the_look_is_passed_over(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_TURN_SECONDS", 0)
    late = [follow(streams, FakeConnection()) for _ in range(2)]
    streams.behind.update(late)
    heartbeat = Heartbeat(streams, heartbeat=15, slow_after=30)
    looking = asyncio.create_task(steps(heartbeat, 1))
    await asyncio.sleep(0)
    streams.behind.clear()
    await looking
    assert heartbeat._seen == {}
