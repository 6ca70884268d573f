"""A proxy like a bad network: it cuts the server's answers at random places, also within characters, and
stalls."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter

from tests.running import PATIENCE


class BadProxy:
    """Relays to a port on this machine. A random number of bytes of each answer passes, then comes one of four
    endings."""

    ENDINGS = ("cut", "reset", "inside a character", "stall")

    def __init__(self, seed: int, least: int, most: int, stalls: float = 0.01) -> None:
        self._random = random.Random(seed)
        self._bytes = (least, most)
        self._stalls = stalls
        self._server: asyncio.Server | None = None
        self.port = 0
        self.target = 0
        """The port that it relays to."""
        self.lenient = False
        """Whether everything passes from now on."""
        self.endings: Counter[str] = Counter()
        self._relaying: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cuts(self) -> int:
        return sum(self.endings.values())

    async def start(self, target: int) -> None:
        self.target = target
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        for task in self._relaying:
            task.cancel()
        await asyncio.gather(*self._relaying, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(reader, writer))
        self._relaying.add(task)
        task.add_done_callback(self._relaying.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relays one connection with one request."""
        upstream: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(10 * PATIENCE):
                request = await reader.readuntil(b"\r\n\r\n")
                answer, upstream = await asyncio.open_connection("127.0.0.1", self.target)
                upstream.write(request)
                await self._answer(reader, answer, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writer.close()
            if upstream:
                upstream.close()

    async def _answer(
        self, asking: asyncio.StreamReader, answer: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        left, ending = self._fate()
        while data := await answer.read(65536):
            if self.lenient:
                writer.write(data)
                await writer.drain()
                continue
            last = len(data) >= left
            if last and ending == "inside a character":
                left = next((n + 1 for n in range(left - 1, len(data)) if data[n] >= 0xC0), left)
            writer.write(data[:left])
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            if last:
                await self._end(ending, asking, writer)
                return
            left -= len(data)

    def _fate(self) -> tuple[int, str]:
        stalls = self._random.random() < self._stalls
        ending = "stall" if stalls else self._random.choice(self.ENDINGS[:3])
        return self._random.randint(*self._bytes), ending

    async def _end(self, ending: str, asking: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.endings[ending] += 1
        if ending == "stall":
            await asking.read()  # until the client gives up
        elif ending == "reset":
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            writer.transport.abort()
