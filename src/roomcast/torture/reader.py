"""Reads an event stream by WHATWG HTML, section 9.2.6. It knows no byte order mark, and no line that ends in CR
alone: roomcast sends neither. Speed does not matter here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from roomcast.torture.target import RawConnection, chunks

SILENCE = 40.0
"""Seconds without a byte after which a stream is dead: the server promises one every 15 s."""
_ENDLESS = 1 << 60
"""The length of a stream without `Content-Length`: it ends with the connection."""


class Silent(ConnectionError):
    """The stream is dead: nothing came for `SILENCE` seconds."""


class Event(NamedTuple):
    """A dispatched event."""

    name: str
    id: str
    data: Any
    """Its data, decoded from JSON."""


class EventReader:
    """Reads the response of a connection as an event stream."""

    def __init__(
        self, connection: RawConnection, fields: Mapping[str, str], pace: Callable[[], float] = float
    ) -> None:
        """`fields` are the response's header fields; `pace` returns the seconds to wait after each piece."""
        self._reader = connection.reader
        self._chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        self._remaining = int(fields.get("content-length", _ENDLESS))
        """Bytes to come, if it is not chunked. A proxy that tells a follower to come back sends a length, and
        keeps the connection open."""
        self._pace = pace
        self.retry_ms: int | None = None

    async def events(self) -> AsyncIterator[Event]:
        """Yields each event, until the stream ends. Raises `OSError` if it is cut, and `ValueError` if it is not
        an event stream."""
        name, id, data = "", "", list[str]()
        async for line in self._lines():
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

    async def _lines(self) -> AsyncIterator[str]:
        rest = b""
        async for piece in self._pieces():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode().removesuffix("\r")
            if pace := self._pace():
                await asyncio.sleep(pace)

    async def _pieces(self) -> AsyncIterator[bytes]:
        if self._chunked:
            async for piece in chunks(self._reader, self._before_silence):
                yield piece
        else:
            while self._remaining:
                piece = await self._before_silence(self._reader.read(min(self._remaining, 65536)))
                if not piece:
                    break
                self._remaining -= len(piece)
                yield piece

    @staticmethod
    async def _before_silence(read: Awaitable[bytes]) -> bytes:
        try:
            async with asyncio.timeout(SILENCE):
                return await read
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("the stream was cut") from error
        except asyncio.LimitOverrunError as error:
            raise ValueError("a chunk's size is no line") from error
        except TimeoutError as error:
            raise Silent(f"nothing came for {SILENCE:.0f} s, not even a heartbeat") from error
