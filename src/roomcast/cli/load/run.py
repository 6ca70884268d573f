"""A whole run: followers connect, messages are posted at a pace, and late deliveries are waited for."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from roomcast.cli.load.address import Address
from roomcast.cli.load.figures import Figures
from roomcast.cli.load.follower import BenchFollower
from roomcast.cli.load.poster import Poster
from roomcast.client.errors import bad_tls
from roomcast.model.errors import RoomcastError
from roomcast.model.file_limit import raise_file_limit

_POSTERS = 16
"""Connections that publish. This many messages may be on their way to the disk at once."""
_AT_ONCE = 64
"""Followers that connect at the same time."""
_SPARE = 64
"""Open files in addition to the followers' connections."""
_LATE = 15.0
"""Seconds that a follower may take to connect (again), or to get missing messages."""
_LOOK = 0.02
"""Seconds between two looks at the figures."""
_PAUSE = 0.5
"""Seconds until a post without an answer is sent again."""
_ADVICE = "check the URL and the credential, or give fewer --followers"


class Unmeasurable(RoomcastError):
    """The server cannot be measured."""

    kind = "unmeasurable"


@dataclass(frozen=True)
class LoadPlan:
    """The size of the load."""

    followers: int = 100
    rate: float = 100.0
    """Messages per second, over all rooms together."""
    size: int = 200
    """Characters of a message's text."""
    seconds: float = 10.0
    rooms: int = 1


class LoadRun:
    """A load on a server, in new rooms of its own."""

    def __init__(self, address: Address, plan: LoadPlan) -> None:
        self.plan = plan
        self._address = address
        each, more = divmod(plan.followers, plan.rooms)
        self.figures = Figures([each + (room < more) for room in range(plan.rooms)])
        name = f"bench-{secrets.token_hex(4)}"
        self._rooms = [f"{name}-{room}" for room in range(plan.rooms)]
        self._key = secrets.token_hex(8)
        self._refusal: str | None = None
        """The server's reason for refusing followers."""

    async def run(self) -> None:
        """Runs the load to its end. Raises `Unmeasurable` if the server cannot be reached or does not take the
        followers, or if this process may not open enough files."""
        _allow_files(self.plan.followers)
        connections = [
            BenchFollower(self._address, room, self.figures, self._refused)
            for room, followers in zip(self._rooms, self.figures.audience, strict=True)
            for _ in range(followers)
        ]
        try:
            await _some_at_once(one.connect for one in connections)
            await self._until(lambda: self.figures.connected == self.plan.followers)
            if self.figures.connected < self.plan.followers:
                missing = f"the server lets in only {self.figures.connected} of {self.plan.followers} followers"
                why = self._refusal or (self.figures.cuts and "connections end without an answer")
                raise Unmeasurable(f"{missing}{f': {why}' if why else ''}; {_ADVICE}")
            await self._post_all()
            await self._until(
                lambda: self.figures.deliveries >= self.figures.expected and not self.figures.missing()
            )
        except OSError as error:
            why = bad_tls(error) or error.strerror or str(error) or "no answer in time"
            raise Unmeasurable(f"the server cannot be reached: {why}; check that it runs at this URL") from None
        finally:
            for one in connections:
                one.close()

    def _refused(self, why: str) -> None:
        self._refusal = why

    async def _until(self, state: Callable[[], bool]) -> None:
        """Waits for the state, until the server refuses, or until nothing has changed for `_LATE` seconds."""
        seen, end = -1, 0.0
        while not state() and self._refusal is None:
            if (moved := self.figures.deliveries + self.figures.connected) != seen:
                seen, end = moved, time.perf_counter() + _LATE
            if time.perf_counter() > end:
                return
            await asyncio.sleep(_LOOK)

    async def _post_all(self) -> None:
        self.figures.began = time.perf_counter()
        posters = [Poster(self._address) for _ in range(min(_POSTERS, max(1, round(self.plan.rate))))]
        try:
            async with asyncio.TaskGroup() as group:
                for poster in posters:
                    group.create_task(self._post_in_turn(poster))
        finally:
            for poster in posters:
                poster.close()

    async def _post_in_turn(self, poster: Poster) -> None:
        figures, plan = self.figures, self.plan
        while (due := len(figures.sent) / plan.rate) < plan.seconds:
            if (early := figures.began + due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
                continue  # another poster may have posted it meanwhile
            if time.perf_counter() - figures.began > plan.seconds:
                return  # the server is slower than the rate
            await self._post(poster, figures.post())

    async def _post(self, poster: Poster, number: int) -> None:
        text = f"{number}.".ljust(self.plan.size, "x")
        body = json.dumps({"room": self._rooms[self.figures.room(number)], "text": text}).encode()
        why = "the server does not answer"
        for _ in range(int(_LATE / _PAUSE)):
            try:
                status = await poster.post(body, f"{self._key}-{number}")
            except OSError:
                poster.close()
            else:
                if status in (200, 201):
                    self.figures.acknowledged(number)
                    return
                why = f"the server answers {status}"
                if status != 503:
                    break
            await asyncio.sleep(_PAUSE)
        self.figures.refused += 1
        self.figures.refusal = why


def _allow_files(followers: int) -> None:
    files = raise_file_limit()
    if followers + _SPARE > files:
        raise Unmeasurable(f"this process may open {files} files: give fewer --followers, or raise ulimit -n")


async def _some_at_once(jobs: Iterable[Callable[[], Awaitable[None]]]) -> None:
    queue = iter(jobs)
    await next(queue)()  # the first one alone: a server that is away gives one error, not many

    async def work() -> None:
        for job in queue:
            await job()

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
