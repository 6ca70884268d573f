"""A connection that records what is written to it, and messages to write."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from roomcast.delivery.gap import Opening
from roomcast.delivery.hub import Hub
from roomcast.delivery.stream import Stream
from roomcast.delivery.streams import Streams
from roomcast.delivery.wire import WIRES
from roomcast.log.base import Log
from roomcast.model.message import Draft, Message
from roomcast.model.rooms import Selection
from tests.running import PATIENCE

RAW = WIRES[1]
ROOM = Selection.of("a")


class FakeConnection:
    """A connection that keeps everything, and takes no more after so many writes."""

    def __init__(self, full_after: int = 1_000_000) -> None:
        self.stream: Stream | None = None
        self.full_after = full_after
        self.heard = b""
        self.writes = 0
        self.writable = True
        self.open = True
        self.unread = 0
        """Bytes that its client has yet to take, as it reports them."""

    def send(self, data: bytes) -> int:
        return 0

    def write(self, data: bytes, start: int = 0) -> bool:
        assert data, "an empty write is a system call, or a chunk that ends the stream"
        self.heard += data[start:]
        self.writes += 1
        self.full_after -= 1
        self.writable = self.writable and self.full_after != 0
        return self.writable

    def waiting(self) -> int:
        return self.unread

    def close(self, last: bytes) -> None:
        self.heard += last
        self.abort()

    def abort(self) -> None:
        self.open = self.writable = False

    def count(self, seq: int) -> int:
        """How often a message was written. Other events at its position do not count."""
        return self.heard.count(b"-%d\ndata: " % seq)

    def told(self, event: str) -> list[Any]:
        """The data of every event with that name, in order."""
        return [json.loads(data) for data in re.findall(b"event: %b\ndata: (.*)\n" % event.encode(), self.heard)]

    def ids(self, event: str) -> list[str]:
        """The ids of every event with that name, in order."""
        return [id.decode() for id in re.findall(b"id: (.*)\nevent: %b\n" % event.encode(), self.heard)]


class RecordingSink:
    """A sink, and its owner, that records everything and takes no more after `room` writes."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.heard: list[bytes] = []
        self.behind: list[int] = []

    def send(self, data: bytes) -> int:
        return 0

    def write(self, data: bytes, start: int = 0) -> bool:
        self.heard.append(data[start:])
        return len(self.heard) < self.room

    def fall_behind(self, position: int) -> None:
        self.behind.append(position)


def message(seq: int, room: str = "a", body: bytes = b'{"room":"a"}') -> Message:
    """A stored message."""
    return Message(seq, room, None, seq * 1000, 0, body)


def fed(*rooms: str, hub: Hub | None = None, **options: int) -> Hub:
    """A hub that was fed a message of each of these rooms in turn."""
    hub = hub or Hub("test", 0, 0, **options)
    first = hub.position + 1
    hub.feed([message(seq, room) for seq, room in enumerate(rooms, first)], hub.trimmed, 0.0)
    return hub


def follow(
    streams: Streams,
    connection: FakeConnection,
    opening: Opening | int = 0,
    rooms: Selection = ROOM,
    head: bytes = b"",
) -> Stream:
    """Begins a stream at an opening or a position."""
    begun = Stream(streams, connection, rooms, RAW, opening if isinstance(opening, Opening) else Opening(opening))
    begun.attach(head)
    return begun


def messages(first: int, last: int, size: int = 10, room: str = "a") -> list[Message]:
    """Stored messages of one room, each with `size` bytes of text."""
    body = b'{"room":"%b","text":"%b"}' % (room.encode(), b"x" * size)
    return [Message(seq, room, None, seq, seq - 1, body) for seq in range(first, last + 1)]


async def store(log: Log, rooms: str, count: int = 1) -> None:
    """Appends a message to each of these rooms in turn, `count` times."""
    for room in rooms * count:
        await log.append([Draft(room, None, b'{"room":"%b"}' % room.encode())])


async def until(state: Callable[[], object]) -> None:
    """Lets other tasks run until `state()` is true."""
    async with asyncio.timeout(PATIENCE):
        while not state():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
