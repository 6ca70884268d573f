"""A connection that is a list of what was written to it, and messages to write."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from roomcast.delivery.gap import Opening
from roomcast.delivery.stream import Stream, Streams
from roomcast.delivery.wire import WIRES
from roomcast.log.base import Log
from roomcast.model.message import Draft, Message
from roomcast.model.rooms import Selection
from tests.running import PATIENCE

RAW = WIRES[1]
ROOM = Selection.of("a")


class FakeConnection:
    """A connection that keeps everything, and is full after so many writes."""

    def __init__(self, full_after: int = 1_000_000) -> None:
        self.stream: Stream | None = None
        self.full_after = full_after
        self.heard = b""
        self.writes = 0
        self.writable = True
        self.open = True
        self.unread = 0
        """What it says that its client has yet to take, in bytes."""

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
        """How often a message was heard; an event of ours at that position is none."""
        return self.heard.count(b"-%d\ndata: " % seq)

    def told(self, event: str) -> list[Any]:
        """The data of every event of ours with that name, in order."""
        return [json.loads(data) for data in re.findall(b"event: %b\ndata: (.*)\n" % event.encode(), self.heard)]

    def ids(self, event: str) -> list[str]:
        """The ids of these events."""
        return [id.decode() for id in re.findall(b"id: (.*)\nevent: %b\n" % event.encode(), self.heard)]


def follow(
    streams: Streams,
    connection: FakeConnection,
    opening: Opening | int = 0,
    rooms: Selection = ROOM,
    head: bytes = b"",
) -> Stream:
    """A stream that has begun, at an opening or a position."""
    begun = Stream(streams, connection, rooms, RAW, opening if isinstance(opening, Opening) else Opening(opening))
    begun.attach(head)
    return begun


def messages(first: int, last: int, size: int = 10, room: str = "a") -> list[Message]:
    """Stored messages of one room, of `size` bytes of text each."""
    body = b'{"room":"%b","text":"%b"}' % (room.encode(), b"x" * size)
    return [Message(seq, room, None, seq, seq - 1, body) for seq in range(first, last + 1)]


async def store(log: Log, rooms: str, count: int = 1) -> None:
    """A message to each of these rooms in turn, so many times."""
    for room in rooms * count:
        await log.append([Draft(room, None, b'{"room":"%b"}' % room.encode())])


async def until(state: Callable[[], object]) -> None:
    """Gives others the loop until `state()` is true."""
    async with asyncio.timeout(PATIENCE):
        while not state():  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0)
