"""The engine: everything that lives as long as the server, apart from its sockets, and the order in which it
begins and ends.

The log begins first, then the hub and the tail. Followers are served once the tail has reached the log's end. At
the end, the streams end first, while new follows are still answered; then the log ends, then the tail.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable

from roomcast import tasks
from roomcast.auth.guard import Guard
from roomcast.auth.principal_limiters import PrincipalLimiters
from roomcast.auth.rate_limiter import RateLimiter
from roomcast.delivery.budget import Budget
from roomcast.delivery.counts import ComputedCount, Counts
from roomcast.delivery.enforcement import Enforcement
from roomcast.delivery.follower_list import FollowerList
from roomcast.delivery.heartbeat import Heartbeat
from roomcast.delivery.histogram import Histogram
from roomcast.delivery.hub import Hub
from roomcast.delivery.pace import Pace
from roomcast.delivery.recovery import Recovery, first_position
from roomcast.delivery.streams import Streams
from roomcast.delivery.tail import Overtaken, Tail
from roomcast.delivery.worker_group import FollowedAnywhere, Peers, WorkerGroup
from roomcast.log import open_log
from roomcast.log.base import Log
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.settings import Settings

_PAGES_AT_ONCE = 2
DRAIN_SECONDS = 3.0
"""How long a client may take to read the end of its stream before it is cut."""
_READY_SECONDS = 2.0
"""How long the tail may take to reach the log's end in a process that is ready."""
_PEERS_READY_SECONDS = 0.5
"""Like `_READY_SECONDS`, but for a question of another worker: that worker waits for one second only."""


class Engine:
    """A running server, apart from its sockets."""

    def __init__(self, settings: Settings, log: Log, hub: Hub, peers: Peers | None = None) -> None:
        self.settings = settings
        self.log = log
        self.hub = hub
        self.tail = Tail(log, hub)
        self.streams = Streams(log, hub)
        self.streams.logs_ends = settings.access_log
        self._recovery = Recovery(log, hub, self.tail, self.streams)
        self.followers_limit = settings.followers_limit
        self.answers = Budget(settings.answer_memory)
        """The memory that all large answers share."""
        rate = settings.publish_rate
        self.address_limiter = None if rate is None else RateLimiter(rate, settings.publish_burst)
        """The publish rate of each client's address; None if it is not limited."""
        self.principal_limiters = PrincipalLimiters()
        """The publish rates of principals that have a limit."""
        self.pages = asyncio.Semaphore(_PAGES_AT_ONCE)
        """Limits reads for pages of history, so that resumes and readiness checks do not queue behind all of
        them."""
        self.enforcement: Enforcement | None = None
        """Enforces revocations; None if nothing can be revoked."""
        self.published = 0
        self.append_times = Histogram()
        """The time of each publish, from the end of its body until it is durable."""
        self.requests: Counter[tuple[str, int]] = Counter()
        """Answers by method and status."""
        self.refusals: Counter[str] = Counter()
        """Refused requests by reason: see `http/refusals`."""
        self.closed: Counter[str] = Counter()
        """Connections that the server closed by itself, by reason."""
        self.connected: Callable[[], dict[str, int]] = dict
        """Returns the number of connections by state; empty under another ASGI server, which owns them."""
        self.pace = Pace(lambda: self.hub.position)
        heartbeat = Heartbeat(self.streams, settings.heartbeat, settings.slow_after)
        self.worker_group = WorkerGroup(peers)
        """This process among the workers of its server."""
        self.followed = FollowedAnywhere(self.worker_group, self.streams.followed)
        """The rooms that have followers at any worker."""
        self.follower_list = FollowerList(self.worker_group, self.streams)
        """The followers of all workers."""
        self._share()
        running = (
            self._recovery.run(),
            heartbeat.run(),
            self.pace.run(),
            *([self.worker_group.run()] if peers else []),
        )
        self._tasks = [asyncio.create_task(one) for one in running]

    def _share(self) -> None:
        """Shares limits, counts and tickets with the other workers of this server."""
        group, tenures = self.worker_group, self.streams.tenures
        if peers := group.peers:
            peers.when_asked("ready", lambda _: self.ready(_PEERS_READY_SECONDS))
            group.count("followers", ComputedCount(lambda: len(self.streams.active)))
            limits = self.streams.limits
            limits.counts = Counts()
            limits.elsewhere = lambda name: group.elsewhere("streams", name)
            group.count("streams", limits.counts)
            if self.address_limiter is not None:
                group.spend("publish", self.address_limiter)
            group.spend("rates", self.principal_limiters)
            tenures.opened = lambda nonce: peers.tell("ticket opened", nonce)
            tenures.replaced = lambda nonce: peers.tell("ticket replaced", nonce)
            peers.when_told("ticket opened", lambda worker, nonce: tenures.replace(nonce, time.time()))
            peers.when_told("ticket replaced", lambda worker, nonce: tenures.count_replacement(nonce, time.time()))

    @classmethod
    async def open(cls, settings: Settings) -> Engine:
        """Opens the log that `settings` name, and returns an engine that serves it. Raises `LogUnusable`."""
        return await cls.over(settings, await cls.log_of(settings))

    @staticmethod
    async def log_of(settings: Settings) -> Log:
        """Opens the log that `settings` name. Raises `LogUnusable`."""
        return await open_log(
            settings.log,
            retention=settings.retention,
            new_epoch=settings.new_epoch,
            synchronous=settings.synchronous,
            max_message=settings.max_message,
        )

    @classmethod
    async def over(cls, settings: Settings, log: Log, peers: Peers | None = None) -> Engine:
        """Returns an engine for `settings` over the open `log`, which it owns from now on. `peers` are the other
        workers; None for a process alone. Raises `LogUnusable`, with the log closed."""
        try:
            bounds = await log.bounds()
        except LogUnavailable as error:
            if not log.epoch:  # the log is away: the server runs without it, and says so
                return cls(settings, log, Hub("", 0, 0), peers)
            await log.close()
            raise LogUnusable(error.detail) from error
        except BaseException:
            await log.close()
            raise
        engine = cls(settings, log, Hub(log.epoch, first_position(bounds), bounds.trimmed), peers)
        try:
            await engine._catch_up(bounds.newest)
        except LogUnavailable as error:  # for example a damaged page, which each later try would meet again
            await engine.close()
            raise LogUnusable(error.detail) from error
        except BaseException:  # for example a signal at the start: a log left open looks like an unclean stop
            await engine.close()
            raise
        engine.tail.announced = True
        return engine

    async def _catch_up(self, newest: int) -> None:
        """Returns when the tail has reached the seq `newest`. Raises `LogUnavailable`."""
        while True:
            try:
                return await self.tail.reached(newest)
            except Overtaken:  # another server of the log trimmed messages before they were read here
                # An outage may have begun before the next wait, which would then not be told of it.
                if self.tail.outage:
                    raise LogUnavailable(self.tail.outage) from None

    async def enforce(self, guard: Guard) -> None:
        """From now on, revocations in the log and a new configuration of `guard` also end streams."""
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
        return bool(most and self.worker_group.peers and here + self.worker_group.elsewhere("followers") >= most)

    async def readiness(self) -> dict[int, str]:
        """Returns why workers of this server do not serve as promised now, by worker number; empty if all do."""
        own, (others, missing) = await asyncio.gather(self.ready(), self.worker_group.ask_workers("ready"))
        found = {self.worker_group.number: own, **others, **dict.fromkeys(missing, "it does not answer")}
        return {worker: why for worker, why in sorted(found.items()) if why}

    async def ready(self, patience: float = _READY_SECONDS) -> str:
        """Returns why this process does not serve followers or publishers as promised now; empty if it does. Takes
        `patience` seconds at most."""
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
        """Ends every stream so that its client comes back by itself, and refuses new ones in the same way."""
        self.streams.draining = True
        await self._recovery.end_streams("drain")

    async def close(self) -> None:
        """Ends the streams and closes the log. Everything that was acknowledged is stored."""
        await self.drain()
        await self.log.close()
        self.tail.end()
        await self.streams.replay.close()
        await tasks.cancel(self._tasks)

    def check(self) -> None:
        """Raises `LogUnavailable` if the log was never reached: its epoch is then unknown, and no id can be
        read."""
        if not self.hub.epoch:
            raise LogUnavailable(
                "The log was not reached yet: try again later. The server goes on by itself once the log answers."
            )
