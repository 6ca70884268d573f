"""What lives as long as the server: the log, its tail, the hub and the streams, and in which order they go.

Opening: log, hub, tail, and only when the tail is where the log was, followers. Draining: streams end first,
while new follows are still answered; then the tail, then the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable

from roomcast import tasks
from roomcast.auth.guard import Guard
from roomcast.auth.principal_limiters import PrincipalLimiters
from roomcast.auth.rate_limiter import RateLimiter
from roomcast.delivery.budget import Budget
from roomcast.delivery.counts import Counts, Number
from roomcast.delivery.enforcement import Enforcement
from roomcast.delivery.heartbeat import Heartbeat
from roomcast.delivery.histogram import Histogram
from roomcast.delivery.hub import Hub
from roomcast.delivery.pace import Pace
from roomcast.delivery.replay import retry_delay_ms
from roomcast.delivery.roll import Roll
from roomcast.delivery.stream import Streams
from roomcast.delivery.tail import Overtaken, Tail
from roomcast.delivery.together import FollowedTogether, Peers, Together
from roomcast.log import open_log
from roomcast.log.base import Bounds, Log
from roomcast.model.errors import LogRestarted, LogUnavailable, LogUnusable
from roomcast.model.settings import Settings

_WINDOW_MESSAGES = 10_000
"""How many of the newest messages the hub is given at the start, so that a crowd that comes back after a
restart is served from memory."""
_PAGES_AT_ONCE = 2
DRAIN_SECONDS = 3.0
"""How long a client may take to read the end of its stream before it is cut."""
_RESTART_SECONDS = 1.0
_READY_SECONDS = 2.0
"""How long it may take to reach what the log has, while this process is ready."""
_PEERS_READY_SECONDS = 0.5
"""The same, where another worker asks: it waits for a second."""

logger = logging.getLogger("roomcast.server")


class Engine:
    """A running server, apart from its sockets."""

    def __init__(self, settings: Settings, log: Log, hub: Hub, peers: Peers | None = None) -> None:
        self.settings = settings
        self.log = log
        self.hub = hub
        self.tail = Tail(log, hub)
        self.streams = Streams(log, hub)
        self.followers_limit = settings.followers_limit
        self.answers = Budget(settings.answer_memory)
        """What all answers hold that are larger than a write."""
        rate = settings.publish_rate
        self.address_limiter = None if rate is None else RateLimiter(rate, settings.publish_burst)
        """What each client may publish; None: as much as it likes."""
        self.principal_limiters = PrincipalLimiters()
        """The publish rates of principals that have a limit."""
        self.pages = asyncio.Semaphore(_PAGES_AT_ONCE)
        """Reads of the log for pages: resumes and readiness must not queue behind all of them."""
        self.enforcement: Enforcement | None = None
        """Enforces revocations; None if nothing can be revoked."""
        self.published = 0
        self.append_times = Histogram()
        """The time of each publish, from its body being read to its being durable."""
        self.requests: Counter[tuple[str, int]] = Counter()
        """Answers by method and status."""
        self.refusals: Counter[str] = Counter()
        """Refused requests by reason: see `http/refusals`."""
        self.closed: Counter[str] = Counter()
        """Connections that the server closed by itself, by reason."""
        self.connected: Callable[[], dict[str, int]] = dict
        """The number of connections, by state; empty in another ASGI server."""
        self.pace = Pace(lambda: self.hub.position)
        pulse = Heartbeat(self.streams, settings.heartbeat, settings.slow_after)
        self.together = Together(peers)
        """This process among the workers of its server."""
        self.followed = FollowedTogether(self.together, self.streams.followed)
        """Which rooms have followers, of all workers."""
        self.roll = Roll(self.together, self.streams)
        """Who follows, of all workers."""
        self._share()
        running = (self._deliver(), pulse.run(), self.pace.run(), *([self.together.run()] if peers else []))
        self._tasks = [asyncio.create_task(one) for one in running]

    def _share(self) -> None:
        """What holds for all workers of this server together."""
        together, tenures = self.together, self.streams.tenures
        if peers := together.peers:
            peers.when_asked("ready", lambda _: self.ready(_PEERS_READY_SECONDS))
            together.count("followers", Number(lambda: len(self.streams.active)))
            seats = self.streams.seats
            seats.counts = Counts()
            seats.elsewhere = lambda name: together.elsewhere("seats", name)
            together.count("seats", seats.counts)
            if self.address_limiter is not None:
                together.spend("publish", self.address_limiter)
            together.spend("rates", self.principal_limiters)
            tenures.opened = lambda nonce: peers.tell("ticket opened", nonce)
            tenures.replaced = lambda nonce: peers.tell("ticket replaced", nonce)
            peers.when_told("ticket opened", lambda worker, nonce: tenures.replace(nonce, time.time()))
            peers.when_told("ticket replaced", lambda worker, nonce: tenures.count(nonce, time.time()))

    @classmethod
    async def open(cls, settings: Settings) -> Engine:
        """Raises `LogUnusable`."""
        return await cls.over(settings, await cls.log_of(settings))

    @staticmethod
    async def log_of(settings: Settings) -> Log:
        """The log that is named. Raises `LogUnusable`."""
        return await open_log(
            settings.log,
            retention=settings.retention,
            new_epoch=settings.new_epoch,
            synchronous=settings.synchronous,
            max_message=settings.max_message,
        )

    @classmethod
    async def over(cls, settings: Settings, log: Log, peers: Peers | None = None) -> Engine:
        """Uses a log that is already open, and owns it from now on. Raises `LogUnusable`."""
        try:
            bounds = await log.bounds()
        except LogUnavailable as error:
            if not log.epoch:  # away: the server runs, and says so
                return cls(settings, log, Hub("", 0, 0), peers)
            await log.close()
            raise LogUnusable(error.detail) from error
        except BaseException:
            await log.close()
            raise
        engine = cls(settings, log, Hub(log.epoch, _beginning(bounds), bounds.trimmed), peers)
        try:
            await engine._catch_up(bounds.newest)
        except LogUnavailable as error:  # such as a damaged page: it would be met again and again
            await engine.close()
            raise LogUnusable(error.detail) from error
        except BaseException:  # a signal at the start: what is left open looks like an unclean stop
            await engine.close()
            raise
        engine.tail.announced = True
        return engine

    async def _catch_up(self, newest: int) -> None:
        """Returns when the tail is where the log was, wherever it had to begin. Raises `LogUnavailable`."""
        while True:
            try:
                return await self.tail.reached(newest)
            except Overtaken:  # another server of the log has trimmed what was to be read first
                continue

    async def enforce(self, guard: Guard) -> None:
        """From now on, revocations in the log and a new configuration of the guard also end streams."""
        self.enforcement = Enforcement(self.log, self.streams, guard)
        with contextlib.suppress(LogUnavailable):  # the log is away; the next look tries again
            await self.enforcement.look()
        self._tasks.append(asyncio.create_task(self.enforcement.run()))

    @property
    def draining(self) -> bool:
        """Whether all streams end, and new ones are sent away."""
        return self.streams.draining

    @property
    def full(self) -> bool:
        """Whether the limit of streams is reached, here or at all workers together."""
        here, most = len(self.streams.active), self.settings.max_followers
        if here >= self.followers_limit:
            return True
        return bool(most and self.together.peers and here + self.together.elsewhere("followers") >= most)

    async def readiness(self) -> dict[int, str]:
        """Why workers of this server do not serve as promised now, by their numbers; empty where all do."""
        own, (others, missing) = await asyncio.gather(self.ready(), self.together.ask_workers("ready"))
        found = {self.together.number: own, **others, **dict.fromkeys(missing, "it does not answer")}
        return {worker: why for worker, why in sorted(found.items()) if why}

    async def ready(self, patience: float = _READY_SECONDS) -> str:
        """Why followers or publishers are not served as promised here now; empty where they are. Takes no longer
        than `patience` seconds."""
        if self.draining:
            return "the server is draining"
        if self.hub.epoch != self.log.epoch:
            return self.tail.outage or "the log is being read anew"
        try:
            async with asyncio.timeout(patience):
                await self.tail.reached((await self.log.bounds()).newest)
        except TimeoutError:
            return "the tail is behind the log"
        except LogUnavailable as error:
            return error.detail
        return self.tail.outage

    async def drain(self) -> None:
        """Ends every stream so that its client comes back by itself, at a moment of its own."""
        self.streams.draining = True
        await self._send_away("drain")

    async def close(self) -> None:
        """Lets go of everything; what was acknowledged is stored."""
        await self.drain()
        await self.log.close()
        self.tail.end()
        await self.streams.reader.close()
        await tasks.cancel(self._tasks)

    async def _deliver(self) -> None:
        """The tail, whatever happens. What else fails in it is a defect: any stream may have missed something
        then, so all end, and resume exactly."""
        while True:
            try:
                return await self.tail.run()
            except LogRestarted as error:
                if self.hub.epoch:  # otherwise the log was never reached, and there is no stream
                    logger.warning(
                        "all streams end and resume by themselves, there is nothing to do: %s", error.detail
                    )
                await self._restart()
                continue
            except Exception:
                logger.exception("delivery failed, all streams end and resume")
            await self._send_away("error")
            await asyncio.sleep(_RESTART_SECONDS)

    async def _restart(self) -> None:
        """Begins anew where the log is now. All streams are abandoned in the same turn: one that lived on would be
        served from both. They end in turns with others."""
        while True:
            try:
                bounds = await self.log.bounds()
                break
            except LogUnavailable as error:
                self.tail.outage = error.detail
                await asyncio.sleep(_RESTART_SECONDS)
        # In the same history the tail has met a hole: met again, it would end those that come back meanwhile.
        same = self.log.epoch == self.hub.epoch
        beginning = bounds.newest if same else _beginning(bounds)
        self.hub.restart(self.log.epoch, beginning, bounds.trimmed, bounds.newest)
        abandoned = self.streams.abandon()
        self.tail.announced = True
        turns = tasks.Turns()
        for stream in abandoned:
            stream.end("error", retry_delay_ms())
            await turns.next()

    def check(self) -> None:
        """Raises `LogUnavailable` where the log was never reached, so that no id can be told from another."""
        if not self.hub.epoch:
            raise LogUnavailable("The log was not reached yet; everything goes on when it is there.")

    async def _send_away(self, reason: str) -> None:
        turns = tasks.Turns()
        for stream in list(self.streams.active):
            stream.end(reason, retry_delay_ms())
            await turns.next()


def _beginning(bounds: Bounds) -> int:
    return max(bounds.trimmed, bounds.newest - _WINDOW_MESSAGES)
