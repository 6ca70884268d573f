"""The tail: follows the log and feeds the hub. Caught-up followers get every message this way, whichever process
stored it."""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from itertools import count

from roomcast.delivery.histogram import Histogram
from roomcast.delivery.hub import Hub
from roomcast.log.base import Log, LogConsumer
from roomcast.model.errors import LogRestarted, LogUnavailable

_RETRY_SECONDS = 0.5

logger = logging.getLogger("roomcast.tail")


class Overtaken(LogUnavailable):
    """The next messages are gone, or the log has a new epoch: the tail starts over where the log is."""


class Tail:
    """Feeds the hub, also after outages of the log."""

    def __init__(self, log: Log, hub: Hub) -> None:
        self._log = log
        self._hub = hub
        self._consumer: LogConsumer | None = None
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        """A heap of those who wait for a position, ordered by it."""
        self._number = count()
        """Orders those who wait for the same position, since futures cannot be compared."""
        self.delivery_times = Histogram()
        """For each batch that was written to followers: the time from storing its oldest message to writing to the
        last follower."""
        self.outage = ""
        """Why the log cannot be followed now; empty while it can."""
        self._ended = ""
        """Why the hub is never fed again; empty until the log is closed."""
        self.announced = False
        """Whether outages are logged. While the server starts, an outage is the reason why it fails to start, and
        is reported as such."""

    async def run(self) -> None:
        """Feeds the hub until the log is closed. Raises `LogRestarted` if the next messages do not follow those in
        the hub."""
        self.outage = ""
        self._wake()  # the hub may have restarted at a later position
        while True:
            try:
                await self._follow()
                return self.end()
            except LogUnavailable as error:
                self.note(error.detail)
            except LogRestarted as error:
                self._give_up(Overtaken(error.detail))
                raise
            except Exception:
                self.outage = "delivery failed: see the server's log"
                self._give_up(LogUnavailable(self.outage))
                raise
            await asyncio.sleep(_RETRY_SECONDS)

    async def reached(self, position: int) -> None:
        """Returns when everything up to the seq `position` was fed to the hub. Raises `LogUnavailable` if the log
        goes away or is closed before, or delivery fails, and `Overtaken` if the tail starts over."""
        if self._hub.position < position:
            if self._ended:
                raise LogUnavailable(self._ended)
            future = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (position, next(self._number), future))
            await future

    def end(self) -> None:
        """Notes that the log is closed, and tells everybody who waits."""
        self._ended = "The log is closed."
        self._give_up(LogUnavailable(self._ended))

    def note(self, outage: str) -> None:
        """Notes why the log cannot be followed now; `outage` is empty if it can. When an outage begins, everybody
        who waits is told. Once `announced` is set, its begin and its end are logged."""
        if outage and not self.outage:
            self._give_up(LogUnavailable(outage))
        if self.announced and outage and not self.outage:
            logger.warning("the log is away, followers wait; once it answers, all goes on by itself: %s", outage)
        elif self.announced and self.outage and not outage:
            logger.warning("the log is back: nothing is left to do")
        self.outage = outage

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        if self._log.epoch != self._hub.epoch:
            raise LogRestarted("the log has a new epoch")
        async for batch in await self._consume():
            self.note("")
            # A hole harms live followers only. All others are served from the log.
            if batch.missed and self._hub.audiences:
                raise LogRestarted("messages were trimmed before they could be delivered here")
            delivered = self._hub.deliveries
            self._hub.feed(batch.messages, batch.trimmed, loop.time(), batch.position, batch.cuts)
            if self._hub.deliveries != delivered:
                # The difference is negative if a clock was set back, or if another server's clock is ahead.
                self.delivery_times.observe(max(0.0, time.time() - batch.messages[0].stored_at / 1000))
            self._wake()

    async def _consume(self) -> LogConsumer:
        """A consumer of the log that begins at the hub's position."""
        previous, self._consumer = self._consumer, self._log.consumer("delivery", self._hub.position)
        if previous:  # closed only now: without any consumer, the next messages could be trimmed
            await previous.aclose()
        return self._consumer

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._hub.position:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)

    def _give_up(self, why: LogUnavailable) -> None:
        for _, _, future in self._waiting:
            if not future.done():
                future.set_exception(type(why)(why.detail))  # each has a traceback of its own
        self._waiting.clear()
