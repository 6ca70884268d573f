"""The witness: a well-behaved publisher and a follower of its room, which show whether the server still serves
while others attack it."""

from __future__ import annotations

import asyncio
import math
import re
import time
from contextlib import suppress
from random import Random
from typing import NamedTuple

from roomcast.torture.follower import Follower
from roomcast.torture.publisher import Publisher
from roomcast.torture.record import Record
from roomcast.torture.target import PATIENCE, RawAnswer, Target

PAUSE = 0.05
"""Seconds between two messages of the publisher."""
_MEMORY = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)


class Steady(Random):
    """A random source with which a publisher never cuts its connection, and a follower neither reads slowly nor
    forgets its id."""

    def random(self) -> float:
        """Returns 0.999, which is above every share."""
        return 0.999


class Observation(NamedTuple):
    """The observations of the publisher and the follower over some time."""

    published: int
    failed: int
    """Publishes that were refused, or not answered within 10 s."""
    publish_p99: float
    """Seconds; infinite if at least one in a hundred failed."""
    delivery_p99: float
    """Seconds from the sending of a message to its arrival; infinite if none arrived."""
    lost: int
    """Acknowledged messages that did not arrive within 10 s."""


class Witness:
    """The publisher and the follower. Use it in `async with`."""

    def __init__(self, target: Target, room: str) -> None:
        self.record = Record()
        self.room = room
        self._target = target
        self._publisher = Publisher(target, self.record, [room], room, Steady(), deletes=False)
        self._follower = Follower(target, self.record, "the follower", [room], Steady())
        self._follower.stop_cutting.set()

    async def __aenter__(self) -> Witness:
        """Returns when the follower is live, or after 10 s."""
        self._following = asyncio.create_task(self._follower.run(0, 1, self._publisher.sent_at))
        end = time.monotonic() + PATIENCE
        while not (self._follower.transcript.last_id or self._following.done()) and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if self._following.done():
            self._following.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        self._publisher.close()

    async def watch(self, seconds: float) -> Observation:
        """Publishes for `seconds` seconds, and waits until all messages have arrived. Returns what was seen."""
        took: list[float] = []
        failed = 0
        self._follower.delays.clear()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            if await self._publisher.publish(self.room, keyed=False, patience=PATIENCE):
                took.append(time.monotonic() - began)
            else:
                failed += 1
            await asyncio.sleep(PAUSE)
        lost = await self._lost()
        times = [*took, *[math.inf] * failed]
        return Observation(len(took), failed, p99(times), p99(self._follower.delays), lost)

    async def memory(self) -> float | None:
        """The server's memory in bytes; None if /metrics does not tell."""
        answer = await self._ask("/metrics")
        found = answer and _MEMORY.search(answer.body.decode(errors="replace"))
        with suppress(ValueError):
            return float(found[1]) if found else None
        return None

    async def serves(self) -> bool:
        """Whether the server answers a newcomer within 10 s."""
        answer = await self._ask("/healthz")
        return answer is not None and answer.status < 500

    async def _ask(self, path: str) -> RawAnswer | None:
        """The answer. A newcomer whose connection is closed to make room tries again, for 10 s."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                return await self._target.get(path, accept="text/plain")
            except (OSError, TimeoutError, ValueError):
                await asyncio.sleep(PAUSE)
        return None

    async def _lost(self) -> int:
        """How many acknowledged messages have not arrived."""
        newest = self.record.newest(self.room)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._follower.reach(newest)
        except TimeoutError:
            last = self._follower.transcript.last_id
            after = int(last.rpartition("-")[2]) if last else 0
            return len(self.record.known(self.room, after, newest))
        return 0

    def judge(self) -> list[str]:
        """Returns the promises that were broken."""
        self._follower.judge()
        return self.record.violations


def p99(times: list[float]) -> float:
    """Returns the 99th percentile; infinite if there are no times."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] if ordered else math.inf
