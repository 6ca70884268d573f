"""The sink of a follower in a host application: plain ASGI `send`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from roomcast.delivery.budget import Budget
from roomcast.delivery.piece import PIECE_BYTES
from roomcast.delivery.stream import Stream
from roomcast.model.errors import Overloaded

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AsgiSink:
    """A sink that is an ASGI response. It lives as long as `run` runs."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._reason = "client"
        """The reason that the stream is told if the sink itself ends."""
        self.stream: Stream | None = None
        self._pending: list[bytes] = []
        self._size = 0
        """Bytes that are pending, or that `send` was given and has not finished."""
        self._ended = False
        self._wake = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    @property
    def writable(self) -> bool:
        """Whether it takes more now: fewer than PIECE_BYTES are pending or being sent."""
        return not self._ended and self._size < PIECE_BYTES

    def send(self, data: bytes) -> int:
        """Takes nothing of `data`: no way is faster than `write`. Returns 0."""
        return 0

    def write(self, data: bytes, start: int = 0) -> bool:
        """Takes all of `data`; `start` is 0, since `send` takes nothing. Returns False if the stream must wait for
        `pump` before the next write."""
        if self._ended:
            return False
        try:
            self._budget.hold(data)
        except Overloaded:
            self._reason = "overload"
            self.abort()
            return False
        self._pending.append(data)
        self._size += len(data)
        self._wake.set()
        return self.writable

    def waiting(self) -> int:
        """Bytes that the host has not taken yet."""
        return self._size

    def close(self, last: bytes) -> None:
        """Ends after the pending bytes and `last` are sent."""
        self.write(last)
        self._ended = True

    def abort(self) -> None:
        """Ends at once: pending bytes are dropped."""
        self._ended = True
        self._drop(self._pending)
        self._pending = []
        if self._sending:
            self._sending.cancel()

    async def run(self, receive: Receive, send: Send) -> None:
        """Gives `send` the bytes until the stream ends, or `receive` says that the client disconnected. Hosts
        report a disconnect in different ways: by `http.disconnect`, by an exception in `send`, or by
        cancelling."""
        self._sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({self._sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Sending has its own task: a `send` that waits for a slow client must end with the stream.
            self._sending.cancel()
            gone.cancel()
            if self.stream:
                self.stream.connection_lost(self._reason)
            await asyncio.gather(self._sending, gone, return_exceptions=True)
            self._drop(self._pending)
            self._pending = []

    async def _send(self, send: Send) -> None:
        while self._pending or not self._ended:
            await self._wake.wait()
            self._wake.clear()
            sending, self._pending = self._pending, []
            data = b"".join(sending)
            try:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            finally:
                self._drop(sending)
            was_writable, self._size = self.writable, self._size - len(data)
            if self.stream and self.writable and not was_writable:
                # In a turn of its own: a bug in the stream must not look like a client that disconnected.
                asyncio.get_running_loop().call_soon(self.stream.pump)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _drop(self, taken: Sequence[bytes]) -> None:
        for data in taken:
            self._budget.drop(data)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
