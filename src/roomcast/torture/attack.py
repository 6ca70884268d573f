"""The whole attack: who takes part, in which order it goes, and what is found."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from roomcast.torture.follower import Follower
from roomcast.torture.publisher import Publisher
from roomcast.torture.record import Record
from roomcast.torture.target import Target, Unusable


@dataclass
class Plan:
    """What is done to the server."""

    seconds: float = 60
    followers: int = 100
    publishers: int = 4
    rooms: int = 8
    pause: float = 0.01
    """Seconds between two requests of a publisher, on average."""
    life: float = 3
    """Seconds between two cuts of a follower, on average."""
    patience: float = 60
    """Seconds that the last message may take to reach everybody, and a publish that is tried again."""
    seed: int = field(default_factory=lambda: secrets.randbits(32))


class Attack:
    """Under way, or over."""

    def __init__(self, target: Target, plan: Plan) -> None:
        self.record = Record()
        self.plan = plan
        self._target = target
        random = Random(plan.seed)
        run = secrets.token_hex(4)
        # The last room is quiet: one message in a hundred, so that its followers are away for long.
        self._rooms = [f"torture-{run}-{n}" for n in range(plan.rooms)]
        self._busy = [room for room in self._rooms[:-1] for _ in range(100 // max(1, plan.rooms - 1))]
        self.publishers = [
            Publisher(target, self.record, [*self._busy, self._rooms[-1]], f"{run}-p{n}", Random(random.random()))
            for n in range(plan.publishers)
        ]
        self.followers = [self._follower(n, Random(random.random())) for n in range(plan.followers)]

    def _follower(self, n: int, random: Random) -> Follower:
        rooms = random.sample(self._rooms, min(len(self._rooms), random.choice((1, 1, 2, 3))))
        return Follower(self._target, self.record, f"follower {n}", rooms, random)

    async def run(self) -> None:
        """From the first connection to the verdict. Raises `Unusable` where there is no such server."""
        await self._look()
        until = asyncio.get_running_loop().time() + self.plan.seconds
        sent_at: dict[str, float] = {}
        for publisher in self.publishers:
            publisher.sent_at = sent_at
        following = [
            asyncio.create_task(follower.run(until, self.plan.life, sent_at)) for follower in self.followers
        ]
        try:
            await self._came_in(following)
            await asyncio.gather(*(publisher.run(until, self.plan.pause) for publisher in self.publishers))
            await self._finish(following)
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            for publisher in self.publishers:
                publisher.close()
        for follower in self.followers:
            follower.heard.judge()
        await self._compare_history()

    async def _look(self) -> None:
        try:
            answer = await self._target.get("/healthz")
        except (OSError, ValueError, TimeoutError) as error:
            where = f"{self._target.host}:{self._target.port}"
            raise Unusable(
                f"nothing answers at {where} ({error or 'timed out'}): is the server running?"
            ) from None
        if answer.status != 200:
            raise Unusable(
                f"/healthz is answered with {answer.status}: this is no roomcast, or it lacks a --header"
            )

    async def _came_in(self, following: Sequence[asyncio.Task[None]]) -> None:
        """Waits until each follower has a position: what is published before is none of its business."""
        end = asyncio.get_running_loop().time() + self.plan.patience
        while not all(follower.heard.last_id for follower in self.followers):
            self._raise_from(following)
            if asyncio.get_running_loop().time() > end:
                return
            await asyncio.sleep(0.01)

    async def _finish(self, following: Sequence[asyncio.Task[None]]) -> None:
        """A last message to each room, and the wait until all its followers are there."""
        last: dict[str, int] = {}
        for room in self._rooms:
            if await self.publishers[0].publish(room, patience=self.plan.patience):
                last[room] = self.record.newest(room)
            else:
                self.record.violate(f"no publish to {room} was answered for {self.plan.patience:.0f} s")
        reaching = [
            asyncio.create_task(follower.reach(max(last.get(room, 0) for room in follower.heard.rooms)))
            for follower in self.followers
        ]
        _, late = await asyncio.wait(reaching, timeout=self.plan.patience)
        self._raise_from(following)
        for task in late:
            task.cancel()
        for follower, task in zip(self.followers, reaching, strict=True):
            if task in late:
                self.record.violate(f"{follower.heard.name} was not caught up after {self.plan.patience:.0f} s")

    @staticmethod
    def _raise_from(following: Sequence[asyncio.Task[None]]) -> None:
        """A follower that failed is a mistake of ours."""
        for task in following:
            if task.done():
                task.result()

    async def _compare_history(self) -> None:
        """The history holds what the publishers and followers know, all of it from its first message on."""
        for room in self._rooms:
            seqs = [seq async for seq in self._history(room)]
            if seqs and (missing := set(self.record.known(room, seqs[0], seqs[-1])) - set(seqs)):
                self.record.violate(f"the history of {room} lacks {sorted(missing)[:10]}")
            if seqs != sorted(set(seqs)):
                self.record.violate(f"the history of {room} is not in order")

    async def _history(self, room: str) -> AsyncIterator[int]:
        after = ""
        while True:
            answer = await self._target.get(f"/messages?room={room}&limit=1000{after}")
            page = answer.json["messages"]
            for message in page:
                yield self.record.identify(message)
            if not page:
                return
            after = f"&after={page[-1]['id']}"


Show = Callable[[Attack], None]
"""Called now and then while an attack is under way."""


async def attack(target: Target, plan: Plan, show: Show, every: float) -> Attack:
    """Runs one, and shows it every so many seconds. Raises `Unusable`."""
    under_way = Attack(target, plan)
    running = asyncio.create_task(under_way.run())
    while not running.done():
        await asyncio.wait({running}, timeout=every)
        show(under_way)
    running.result()
    return under_way
