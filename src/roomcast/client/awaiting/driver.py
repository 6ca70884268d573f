"""Connects, reads, waits, and connects again, as `StreamState` says.

Two objects refer to a driver: its generator, and the object that the caller iterates. Only that object refers to
the generator. So a caller that leaves the loop, for instance by `break`, ends the connection at once, and not at
the next garbage collection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from roomcast.client.awaiting.body import aread
from roomcast.client.awaiting.http import AsyncHttp
from roomcast.client.concurrency import AsyncFlag, async_hang_up
from roomcast.client.decode import Comment, Event
from roomcast.client.errors import MAX_EXPLANATION, Closed, TryAgain
from roomcast.client.http import OutgoingRequest
from roomcast.client.stream_state import OnOpen, OnPause, StreamState, is_final


class AsyncDriver:
    """Runs in one task; others may `hang_up`."""

    def __init__(
        self,
        http: AsyncHttp,
        request: OutgoingRequest,
        state: StreamState,
        *,
        comments: bool = False,
        on_open: OnOpen | None = None,
        on_pause: OnPause | None = None,
    ) -> None:
        self.state = state
        self.closed: bool = False
        """Whether the caller has closed the stream."""
        self.at_once: bool = False
        """Whether the caller wants a new connection without a pause."""
        self._http = http
        self._request = request
        self._wanted: tuple[type, ...] = (Event, Comment) if comments else (Event,)
        self._on_open = on_open
        self._on_pause = on_pause
        self._awake = AsyncFlag()
        """Set to end the pause."""
        self._network: Any = None
        """httpcore's object for the connection while there is one, even before the answer."""
        http.register(self)

    async def hang_up(self) -> None:
        """Ends the connection, or the pause."""
        self._awake.set()
        if self._network:
            await async_hang_up(self._network)

    async def run(self) -> AsyncGenerator[Any]:
        """Yields the events of all connections, and the comments if the caller wants them. Raises the error that
        no further connection can fix."""
        while not self.closed:
            self._awake.clear()
            self.at_once = False
            error: Exception | None = None
            try:
                request = dataclasses.replace(self._request, read_timeout=self.state.read_timeout)
                response = await self._http.send(request, self.state.headers(), self._connected)
                try:
                    if response.status_code == 204:
                        return
                    if not self.state.accepts(response):
                        body = await aread(response, MAX_EXPLANATION)
                        self.state.refuse(response, body.content)
                    self._opened(response)
                    async for data in response.aiter_bytes():
                        for item in self.state.feed(data):
                            self.state.take(item)
                            if isinstance(item, self._wanted):
                                yield item
                finally:
                    self._network = None
                    await response.aclose()
            except (httpx.TransportError, TryAgain) as failure:
                error = failure
            except Closed:
                if not self.closed:
                    raise
            if seconds := self._pause_after(error):
                await self._awake.wait(seconds)

    async def _connected(self, network: Any) -> None:
        self._network = network
        if self.closed:
            await self.hang_up()

    def _opened(self, response: httpx.Response) -> None:
        self.state.opened()
        self._network = response.extensions["network_stream"]
        if self._on_open:
            self._on_open(response)

    def _pause_after(self, error: Exception | None) -> float:
        """Seconds until the next connection. Raises `error` if another attempt would end the same way."""
        pause = self.state.ended(error)
        if self.closed or self.at_once:
            return 0.0
        if error is not None and is_final(error):
            raise error
        if self._on_pause:
            self._on_pause(pause)
        return pause.seconds
