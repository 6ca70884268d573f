"""Connects, reads, waits, and connects again, as `source` says: with `await` and without.

A driver is held by its generator and by what the caller iterates; the generator by the latter only. So a caller
that just goes away, as `break` does, ends the connection there and then, and not when the garbage is collected.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import anyio
import httpx

from roomcast.client import body
from roomcast.client.decode import Comment, Event
from roomcast.client.errors import MAX_EXPLANATION, Busy, Closed
from roomcast.client.http import Ask, AsyncHttp, Http, shut_down
from roomcast.client.source import Pause, Source, is_final

OnOpen = Callable[[httpx.Response], object]
OnPause = Callable[[Pause], object]


class _Driver:
    """What both kinds have."""

    def __init__(
        self,
        ask: Ask,
        source: Source,
        *,
        comments: bool = False,
        on_open: OnOpen | None = None,
        on_pause: OnPause | None = None,
    ) -> None:
        self.source = source
        self.closed = False
        """The caller wants no more."""
        self.at_once = False
        """The caller wants another connection, and no pause before it."""
        self._ask = ask
        self._wanted: tuple[type, ...] = (Event, Comment) if comments else (Event,)
        self._on_open = on_open
        self._on_pause = on_pause
        self._network: Any = None
        """httpcore's end of the connection, while there is one; also before it is answered."""

    def _next_ask(self) -> Ask:
        return dataclasses.replace(self._ask, read_timeout=self.source.read_timeout)

    def _opened(self, response: httpx.Response) -> None:
        self.source.opened()
        self._network = response.extensions["network_stream"]
        if self._on_open:
            self._on_open(response)

    def _ended(self, error: Exception | None) -> float:
        """How long to wait. Raises the error where that is pointless."""
        pause = self.source.ended(error)
        if self.closed or self.at_once:
            return 0.0
        if error is not None and is_final(error):
            raise error
        if self._on_pause:
            self._on_pause(pause)
        return pause.seconds


class Driver(_Driver):
    """For one thread; others may `hang_up`."""

    def __init__(self, http: Http, ask: Ask, source: Source, **options: object) -> None:
        super().__init__(ask, source, **options)  # type: ignore[arg-type]
        self._http = http
        self._awake = threading.Event()
        http.keep(self)

    def hang_up(self) -> None:
        """Ends the connection, or the pause."""
        self._awake.set()
        if self._network:
            shut_down(self._network)

    def connected(self, network: Any) -> None:
        """There is a connection, and no answer yet."""
        self._network = network
        if self.closed:
            self.hang_up()

    def run(self) -> Generator[Any]:
        """All that comes, over all connections."""
        while not self.closed:
            self._awake.clear()
            self.at_once = False
            error: Exception | None = None
            try:
                response = self._http.send(self._next_ask(), self.source.headers(), self.connected)
                try:
                    if response.status_code == 204:
                        return
                    if not self.source.accepts(response):
                        self.source.refuse(response, body.read(response, MAX_EXPLANATION).content)
                    self._opened(response)
                    for data in response.iter_bytes():
                        for item in self.source.feed(data):
                            self.source.take(item)
                            if isinstance(item, self._wanted):
                                yield item
                finally:
                    self._network = None
                    response.close()
            except (httpx.TransportError, Busy) as failure:
                error = failure
            except Closed:
                if not self.closed:
                    raise
            if seconds := self._ended(error):
                self._awake.wait(seconds)


class AsyncDriver(_Driver):
    """For one task; others may `hang_up`."""

    def __init__(self, http: AsyncHttp, ask: Ask, source: Source, **options: object) -> None:
        super().__init__(ask, source, **options)  # type: ignore[arg-type]
        self._http = http
        self._awake = anyio.Event()
        http.keep(self)

    async def hang_up(self) -> None:
        """Ends the connection, or the pause."""
        self._awake.set()
        if self._network:
            await self._network.aclose()

    async def connected(self, network: Any) -> None:
        """There is a connection, and no answer yet."""
        self._network = network
        if self.closed:
            await self.hang_up()

    async def run(self) -> AsyncGenerator[Any]:
        """All that comes, over all connections."""
        while not self.closed:
            self._awake = anyio.Event()
            self.at_once = False
            error: Exception | None = None
            try:
                response = await self._http.send(self._next_ask(), self.source.headers(), self.connected)
                try:
                    if response.status_code == 204:
                        return
                    if not self.source.accepts(response):
                        self.source.refuse(response, (await body.aread(response, MAX_EXPLANATION)).content)
                    self._opened(response)
                    async for data in response.aiter_bytes():
                        for item in self.source.feed(data):
                            self.source.take(item)
                            if isinstance(item, self._wanted):
                                yield item
                finally:
                    self._network = None
                    await response.aclose()
            except (httpx.TransportError, Busy) as failure:
                error = failure
            except Closed:
                if not self.closed:
                    raise
            if seconds := self._ended(error):
                with anyio.move_on_after(seconds):
                    await self._awake.wait()
