"""All streams of a process: which may begin, how far they are, and how they end by their rights."""

from __future__ import annotations

import time

import pytest

from roomcast.delivery.gap import Opening, PendingGap
from roomcast.delivery.hub import Hub
from roomcast.delivery.stream import Stream
from roomcast.delivery.streams import Streams
from roomcast.log.memory import MemoryLog
from roomcast.model.retention import Retention
from tests.delivery.fakes import RAW, ROOM, FakeConnection, follow, messages


class Someone:
    """A holder of a right."""

    def __init__(self, until: float | None = None, ticket_nonce: str = "") -> None:
        self.until, self.ticket_nonce = until, ticket_nonce


@pytest.fixture
def streams() -> Streams:
    hub = Hub("test", 0, 0)
    hub.feed(messages(1, 3), 0, 0.0)
    return Streams(MemoryLog(Retention()), hub)


async def test_rooms_are_followed_as_long_as_their_streams(streams: Streams) -> None:
    begun = [follow(streams, FakeConnection()) for _ in range(2)]
    assert (streams.followed.count("a"), streams.opened) == (2, 2)
    begun[0].end("client")
    begun[0].end("client")
    assert (streams.followed.count("a"), streams.endings) == (1, {"client": 1})


async def test_only_a_stream_that_is_behind_has_a_lag(streams: Streams) -> None:
    live, slow = follow(streams, FakeConnection()), follow(streams, FakeConnection(full_after=1))
    streams.hub.feed(messages(4, 5), 0, 0.0)
    assert [streams.lag(stream) for stream in (live, slow)] == [0, 2]
    slow.position = 9
    assert streams.lag(slow) == 0


async def test_a_stream_counts_towards_its_limit_and_one_too_many_is_sent_away(streams: Streams) -> None:
    limit = streams.limits.of("shop", 1, "key")
    begun = [Stream(streams, FakeConnection(), ROOM, RAW, Opening(0), Someone(), limit) for _ in range(2)]
    for stream in begun:
        stream.attach(b"")
    assert [stream.ended for stream in begun] == [False, True]
    assert (limit.streams, streams.limited, streams.endings) == (1, {"key": 1}, {"limit": 1})
    begun[0].end("client")
    assert limit.streams == 0


async def test_a_stream_whose_right_was_revoked_while_it_opened_may_not_begin(streams: Streams) -> None:
    streams.recheck(lambda holder, selection: selection != ROOM)
    connection = FakeConnection()
    late = Stream(streams, connection, ROOM, RAW, Opening(0), Someone())
    late.attach(b"HEAD ")
    assert connection.heard.startswith(b"HEAD retry: ")
    assert streams.endings == {"revoked": 1}
    stranger = FakeConnection()
    follow(streams, stranger)
    assert stranger.open


async def test_only_a_stream_that_replaces_ends_its_holders_older_one(streams: Streams) -> None:
    begun = []
    for replaces in (True, False, True):
        begun.append(Stream(streams, FakeConnection(), ROOM, RAW, Opening(3), Someone(ticket_nonce="ticket")))
        begun[-1].attach(b"", replaces=replaces)
    assert [stream.ended for stream in begun] == [True, False, False]
    begun[2].end("client")
    assert streams.tenures._by_nonce == {}


@pytest.mark.parametrize(("behind", "position"), [(False, 3), (True, 1)])
async def test_a_right_that_ends_is_told_with_the_position_to_resume_from(
    streams: Streams, behind: bool, position: int
) -> None:
    connection = FakeConnection()
    stream = follow(streams, connection)
    if behind:
        stream.fall_behind(1)
    else:
        stream.position = 0  # stale, as of every live stream
    stream.withdraw("expired")
    assert connection.told("roomcast.end") == [{"reason": "expired"}]
    assert connection.ids("roomcast.end") == [f"test-{position}"]
    assert connection.told("gap") == []
    assert 500 <= int(connection.heard.rpartition(b"retry: ")[2]) <= 5_000


async def test_a_gap_that_was_not_told_yet_is_told_before_a_right_ends(streams: Streams) -> None:
    connection = FakeConnection()
    connection.writable = False
    follow(streams, connection, Opening(2, PendingGap("x-1", ["a"], None, "epoch"))).withdraw("revoked")
    assert connection.told("gap")[0]["reason"] == "epoch"
    assert connection.ids("gap") == connection.ids("roomcast.end") == ["test-2"]
    assert connection.heard.index(b"event: gap") < connection.heard.index(b"event: roomcast.end")
    assert streams.gaps == {"epoch": 1}


@pytest.mark.parametrize(("seconds", "told"), [(None, None), (-5, 0), (1.5, 1), (99.5, 99)])
async def test_live_says_in_how_many_whole_seconds_the_right_ends(
    streams: Streams, monkeypatch: pytest.MonkeyPatch, seconds: float | None, told: int | None
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    connection = FakeConnection()
    until = None if seconds is None else 1_000.0 + seconds
    Stream(streams, connection, ROOM, RAW, Opening(0), Someone(until)).attach(b"")
    assert connection.told("live") == [{"replayed": 3, **({} if told is None else {"expires_in": told})}]


async def test_the_bytes_that_a_client_has_yet_to_take_are_at_least_one(streams: Streams) -> None:
    connection = FakeConnection()
    stream = follow(streams, connection)
    connection.unread = 7
    assert stream.waiting() == 0, "the stream waits, not its client"
    connection.writable = False
    assert stream.waiting() == 7
    connection.unread = 0
    assert stream.waiting() == 1
