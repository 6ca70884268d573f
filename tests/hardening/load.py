"""Publishers and followers that load a server while a test does something to it, and the verdict at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from types import TracebackType

from roomcast.torture.attack import Attack, Plan
from roomcast.torture.publisher import Publisher
from roomcast.torture.target import Target
from tests.running import PATIENCE, Running


class Load(Attack):
    """Publishes and follows within an `async with`, and checks all promises at its end.

    The followers never cut their connections themselves: only the test or the server ends them.
    """

    def __init__(
        self, server: Running, keyed: float = 0.7, pause: float = 0.02, seed: int = 1, publishers: int = 4
    ) -> None:
        """`keyed` is the share of posts with an idempotency key, `pause` the mean seconds between two posts of
        a publisher."""
        plan = Plan(followers=20, publishers=publishers, rooms=4, pause=pause, life=0.5, deletes=False, seed=seed)
        super().__init__(Target("127.0.0.1", server.port, tls=False, prefix=""), plan)
        self.random = Random(seed)
        self._keyed = keyed
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        await self._check_server()
        follows = [asyncio.create_task(follower.run(0, self.plan.life, {})) for follower in self.followers]
        self._tasks = follows
        await self._wait_until_joined(follows)
        self._publishing = [asyncio.create_task(self._publish(publisher)) for publisher in self.publishers]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over = True
        try:
            await asyncio.gather(*self._publishing)
            if error is None:
                await self._await_last_messages(self._tasks)
        finally:
            await self._let_go()
        if error is None:
            for follower in self.followers:
                follower.judge()
            await self._compare_history()
            assert not self.record.violations, "\n".join([f"seed {self.plan.seed}:", *self.record.violations])

    async def until(self, state: Callable[[], object], what: str) -> None:
        """Waits until `state()` is true while the load goes on. Raises what ended a publisher or follower
        early."""
        end = asyncio.get_running_loop().time() + PATIENCE
        while not state():
            for task in (*self._tasks, *self._publishing):
                if task.done():
                    task.result()
            assert asyncio.get_running_loop().time() < end, f"waited {PATIENCE:.0f} s for {what}"
            await asyncio.sleep(0.002)

    async def hold(self, count: int) -> None:
        """Returns when `count` more messages are acknowledged, and some are delivered."""
        counts = self.record.counts
        acknowledged, heard = counts["acknowledged"] + count, counts["deliveries"]
        await self.until(lambda: counts["acknowledged"] >= acknowledged, f"{count} acknowledged messages")
        await self.until(lambda: counts["deliveries"] > heard, "a delivery")

    async def be_refused(self, count: int) -> None:
        """Returns when `count` more posts are refused, including those that are retried."""
        counts = self.record.counts
        refused = counts["refused"] + counts["tried again"] + count
        await self.until(lambda: counts["refused"] + counts["tried again"] >= refused, f"{count} refused posts")

    async def check_no_hole(self) -> None:
        """Checks a log without trimming: it retains as many messages as it has numbered, and told no gap."""
        position = (await self._target.get("/readyz")).json["position"]
        rooms = (await self._target.get("/rooms")).json["rooms"]
        assert sum(room["messages"] for room in rooms) == int(position.split("-")[1])
        assert self.record.counts["gaps"] == 0

    async def _publish(self, publisher: Publisher) -> None:
        while not self._over:
            size = self.random.choice((1, 1, 1, 5))
            room = self.random.choice([*self._busy, self._rooms[-1]])
            await publisher.publish(room, size, keyed=self.random.random() < self._keyed, patience=PATIENCE)
            await asyncio.sleep(self.plan.pause * 2 * self.random.random())

    async def _let_go(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for publisher in self.publishers:
            publisher.close()
