"""Follows the log and feeds the hub: the one way by which a message reaches a follower."""

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
    """What was to be fed is gone, or of another epoch: the tail begins anew where the log is."""


class Tail:
    """The log's tail, kept up through outages of the log."""

    def __init__(self, log: Log, hub: Hub) -> None:
        self._log = log
        self._hub = hub
        self._consumer: LogConsumer | None = None
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = count()
        self.delivery_times = Histogram()
        """For each turn that wrote to followers: the time from storing its oldest message to writing to the last
        follower."""
        self.outage = ""
        """Why the log cannot be followed now; empty while it can."""
        self._ended = ""
        """Why nothing will ever be fed again; empty where it will."""
        self.announced = False
        """Whether an outage is news: while the server starts it is the reason why it does not."""

    async def run(self) -> None:
        """Until the log is closed. Raises `LogRestarted` where what it brings does not go on where the hub is."""
        self.outage = ""
        self._wake()  # the hub may have been set to where the log is
        while True:
            try:
                await self._follow()
                return self.end()
            except LogUnavailable as error:
                self._note(error.detail)
            except LogRestarted as error:
                self._give_up(Overtaken(error.detail))
                raise
            except Exception:
                self.outage = "delivery failed: see the server's log"
                raise
            await asyncio.sleep(_RETRY_SECONDS)

    async def reached(self, position: int) -> None:
        """Returns when everything up to `position` was fed to the hub. Raises `LogUnavailable` where the log goes
        away or is closed before, and `Overtaken` where the tail begins anew."""
        if self._hub.position < position:
            if self._ended:
                raise LogUnavailable(self._ended)
            future = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (position, next(self._number), future))
            await future

    def end(self) -> None:
        """The log is closed: nothing is fed any more, and nobody waits for it."""
        self._ended = "The log is closed."
        self._give_up(LogUnavailable(self._ended))

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        if self._log.epoch not in ("", self._hub.epoch):
            raise LogRestarted("the log has a new epoch")
        async for batch in await self._consume():
            self._note("")
            # Whoever is not live yet is served from the log where the hub has a hole.
            if batch.missed and self._hub.audiences:
                raise LogRestarted("messages were trimmed before they could be delivered here")
            delivered = self._hub.deliveries
            self._hub.feed(batch.messages, batch.trimmed, loop.time(), batch.position, batch.cuts)
            if self._hub.deliveries != delivered:
                # Negative if a clock was set back, or if another server's clock is ahead.
                self.delivery_times.observe(max(0.0, time.time() - batch.messages[0].stored_at / 1000))
            self._wake()

    async def _consume(self) -> LogConsumer:
        """Begins where the hub is."""
        before, self._consumer = self._consumer, self._log.consumer("delivery", self._hub.position)
        if before:  # only now: without any, what the new one has yet to bring could be trimmed
            await before.aclose()
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

    def _note(self, outage: str) -> None:
        if outage and not self.outage:
            self._give_up(LogUnavailable(outage))
        if self.announced and outage and not self.outage:
            logger.warning("the log is away, followers wait: %s", outage)
        elif self.announced and self.outage and not outage:
            logger.warning("the log is back")
        self.outage = outage
