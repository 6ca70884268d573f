"""A follower that is cut, dawdles, and comes back with the last id it heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from random import Random
from urllib.parse import urlencode

from roomcast.torture.heard import Heard
from roomcast.torture.reader import Stream
from roomcast.torture.record import Record
from roomcast.torture.target import Connection, Target

_SLOW = 0.1
"""How many followers read slowly."""


class Follower:
    """One of many."""

    def __init__(self, target: Target, record: Record, name: str, rooms: Sequence[str], random: Random) -> None:
        self.heard = Heard(record, name, rooms)
        self.delays: list[float] = []
        """Seconds from the sending of a message to its coming here, while nothing was in its way."""
        self.retries: list[int | None] = []
        """For each stream that the server ended, and did not just cut: the milliseconds of its last `retry:`."""
        self._target = target
        self._record = record
        self._random = random
        self._pace = 0.02 if random.random() < _SLOW else 0
        self._wanted: int | None = None
        self._reached = asyncio.Event()
        self._live = False

    async def run(self, until: float, life: float, sent_at: dict[str, float]) -> None:
        """Follows for ever. Until then (in the loop's time) it cuts its connection every `life` seconds or so."""
        while True:
            clock = asyncio.get_running_loop().time
            lasting = self._random.expovariate(1 / life) if clock() < until else None
            try:
                async with asyncio.timeout(lasting) as own:
                    await self._follow(sent_at)
            except (OSError, ValueError, TimeoutError):
                self._record.counts["cuts"] += 1
            self._live = False
            away = 0.05 + 0.2 * self._random.random()
            if own.expired() and self.heard.last_id:  # before it has one, all others wait for it
                away += min(self._random.expovariate(2 / life), max(0, until - clock()))
            await asyncio.sleep(away)

    async def reach(self, seq: int) -> None:
        """Returns once everything up to there is heard, or named in a gap."""
        self._wanted = seq
        self._look()
        await self._reached.wait()

    async def _follow(self, sent_at: dict[str, float]) -> None:
        connection = await self._target.connect()
        try:
            stream = await self._open(connection)
            if stream is None:
                return
            async for event in stream.events(self._pace):
                self.heard.hear(event)
                if event.name == "live":
                    self._live = True
                elif event.name == "message" and self._live and not self._pace:
                    self._time(sent_at.get(event.data["text"]))
                self._look()
            self._record.counts["sent away"] += 1
            self.retries.append(stream.retry_ms)
        finally:
            connection.cut()

    async def _open(self, connection: Connection) -> Stream | None:
        query = [("room", room) for room in self.heard.rooms]
        headers = {"Accept": "text/event-stream"}
        if self.heard.last_id:
            headers["Last-Event-ID"] = self.heard.last_id
            self._record.counts["resumes"] += 1
        else:
            query.append(("replay", "none"))
        await connection.send("GET", f"/messages?{urlencode(query)}", headers)
        status, fields = await connection.head()
        if status != 200:
            if status < 500:
                self._record.violate(f"a follow was refused with {status}")
            return None
        return Stream(connection, chunked=fields.get("transfer-encoding") == "chunked")

    def _time(self, sent_at: float | None) -> None:
        if sent_at is not None:
            self.delays.append(time.monotonic() - sent_at)

    def _look(self) -> None:
        if self._wanted is not None and self.heard.position >= self._wanted:
            self._reached.set()
