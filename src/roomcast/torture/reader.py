"""Reads an event stream by the rules of WHATWG HTML, section 9.2.6, slowly and by the letter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from roomcast.torture.target import Connection

SILENCE = 40.0
"""Seconds without a byte after which a stream is dead: the server promises one every 15 s."""


class Event(NamedTuple):
    """A dispatched event."""

    name: str
    id: str
    data: Any
    """What its JSON says."""


class Stream:
    """The stream that a connection's response is."""

    def __init__(self, connection: Connection, chunked: bool) -> None:
        self._reader = connection.reader
        self._chunked = chunked
        self.retry_ms: int | None = None
        self.ended = False
        """Whether the end was said, and not just cut."""

    async def events(self, pace: float = 0) -> AsyncIterator[Event]:
        """Each as it comes, until the stream ends, with `pace` seconds of doing nothing behind each piece. Raises
        `OSError` where it is cut, `ValueError` where it is no event stream."""
        name, id, data = "", "", list[str]()
        async for line in self._lines(pace):
            if not line:
                if data:
                    yield Event(name or "message", id, json.loads("\n".join(data)))
                name, data = "", []
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                id = value
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "retry":
                self.retry_ms = int(value)

    async def _lines(self, pace: float) -> AsyncIterator[str]:
        rest = b""
        async for piece in self._pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode().removesuffix("\r")
            if pace:
                await asyncio.sleep(pace)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while piece := await self._chunk() if self._chunked else await self._within(self._reader.read(65536)):
            yield piece
        self.ended = True

    async def _chunk(self) -> bytes:
        """RFC 9112, section 7.1."""
        size = int(await self._within(self._reader.readuntil(b"\r\n")), 16)
        return (await self._within(self._reader.readexactly(size + 2)))[:-2]

    async def _within(self, read: Any) -> bytes:
        try:
            async with asyncio.timeout(SILENCE):
                return bytes(await read)
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("the stream was cut") from error
        except TimeoutError as error:
            raise ConnectionError(f"nothing came for {SILENCE:.0f} s") from error
