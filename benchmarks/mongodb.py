"""Several servers on one collection of MongoDB: how they share it, how long a message takes from one to another.

The database is FerretDB, or the server that ROOMCAST_TEST_MONGODB names. FerretDB reads the whole collection for
each query, so a round has few messages, and its figures are to be compared with each other, not with MongoDB's.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from pymongo import AsyncMongoClient

from benchmarks import machine
from benchmarks.load import Failed, Figures
from benchmarks.peers import Peer, on_database, running
from benchmarks.work import MESSAGE, Bench
from tests.mongodb.database import REAL, FerretDB, fresh_name

PUBLISHERS = 8
"""Connections to each server; each waits for its answer."""
LONGEST_SECONDS = 60.0
"""Seconds after which a run has failed."""
_ENTERED = 3 * PUBLISHERS
"""Messages after which a server surely takes part: its first ones may be stored before the others know of
it."""


@contextmanager
def _database() -> Iterator[str]:
    """A new database server for this round, unless one is named."""
    if REAL:
        yield f"{REAL}/{fresh_name()}"
        return
    server = FerretDB()
    try:
        server.start()
        yield f"{server.url}/{fresh_name()}"
    finally:
        server.remove()


@contextmanager
def _servers(peer: Peer, count: int) -> Iterator[tuple[str, list[int]]]:
    """Starts a number of servers on an unused database. Yields its connection string and their ports. They
    share all cores with the database and the load."""
    with ExitStack() as stack:
        url = stack.enter_context(_database())
        servers = [stack.enter_context(running(on_database(peer, url), None)) for _ in range(count)]
        yield url, [server.place.port for server in servers]


@contextmanager
def _shared() -> Iterator[Figures]:
    """Lets this process and its children run on all cores; fills in `others`, the share of a core that other
    processes used."""
    ours, figures = os.sched_getaffinity(0), Figures()
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    began, before = time.monotonic(), machine.busy_seconds() - machine.own_cpu_seconds()
    try:
        yield figures
    finally:
        os.sched_setaffinity(0, ours)
    used = machine.busy_seconds() - machine.own_cpu_seconds() - before
    figures["others"] = max(0.0, used) / (time.monotonic() - began)


class Connection:
    """Publishes one message after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def publish(self, text: str) -> str:
        """Publishes a message with this `text`, padded. Returns its id. Raises `Failed` if it is refused."""
        body = json.dumps({"room": "room0", "text": text.ljust(MESSAGE)}).encode()
        length = f"Content-Length: {len(body)}"
        head = f"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}"
        self._writer.write(head.encode() + b"\r\n\r\n" + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await self._reader.readexactly(int(answer.partition("content-length:")[2].split()[0]))
        if " 201 " not in answer.partition("\r\n")[0]:
            raise Failed(f"a publish was refused: {body[:200]!r}")
        return str(json.loads(body)["id"])


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


@dataclass
class Race:
    """Publishers on several servers, which publish until `messages` are stored since the last server began to take
    part."""

    ports: Sequence[int]
    messages: int
    stored: list[list[str]] = field(default_factory=list)
    """The ids of the stored messages, by server."""

    async def run(self) -> Figures:
        """Runs the race. Returns its figures: the publishes a second, the slowest server's share, and the numbers
        that were left out. Raises `TimeoutError`."""
        self.stored = [[] for _ in self.ports]
        self._early = [0] * len(self.ports)
        self._began = time.monotonic()
        async with AsyncExitStack() as stack, asyncio.timeout(LONGEST_SECONDS):
            racers = [
                self._publish(which, await stack.enter_async_context(_connected(port)))
                for which, port in enumerate(self.ports)
                for _ in range(PUBLISHERS)
            ]
            await asyncio.gather(*racers)
        shares = self._since()
        return {
            "publishes_per_s": sum(shares) / (time.monotonic() - self._began),
            "least_share": min(shares) / sum(shares),
            "holes": self._holes(),
        }

    async def _publish(self, which: int, connection: Connection) -> None:
        while sum(self._since()) < self.messages:
            self.stored[which].append(await connection.publish("hello"))
            if min(map(len, self.stored)) < _ENTERED:
                self._early, self._began = [len(ids) for ids in self.stored], time.monotonic()

    def _since(self) -> list[int]:
        return [len(ids) - early for ids, early in zip(self.stored, self._early, strict=True)]

    def _holes(self) -> int:
        seqs = {int(id.rpartition("-")[2]) for ids in self.stored for id in ids}
        return max(seqs) - len(seqs)


@dataclass(frozen=True)
class Share:
    """One server alone, then two and four at once, each time on a new collection, publishing at full speed. A
    quick run does not have fewer messages: the share of a few turns would say nothing."""

    messages: int

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`. Raises `Failed`."""
        figures: Figures = {"holes": 0}
        with _shared() as disturbed:
            for count in (1, 2, 4):
                run = self._race(peer, count, self.messages)
                figures["holes"] += run["holes"]
                figures[f"publishes_{count}"] = run["publishes_per_s"]
                figures[f"ratio_{count}"] = run["publishes_per_s"] / figures["publishes_1"]
                figures[f"share_{count}"] = run["least_share"] * count
        return {**figures, **disturbed}

    def _race(self, peer: Peer, count: int, messages: int) -> Figures:
        with _servers(peer, count) as (_, ports):
            try:
                return asyncio.run(Race(ports, messages).run())
            except TimeoutError:
                raise Failed(f"{count} servers did not store {messages} in {LONGEST_SECONDS:.0f} s") from None


@dataclass(frozen=True)
class Across:
    """One message after another to one server, each awaited by a follower of another one; and for comparison, how
    long the database takes to answer a ping, and to insert a document into a collection of its own."""

    messages: int

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`. Raises `Failed`."""
        with _shared() as disturbed, _servers(peer, 2) as (url, ports):
            try:
                times = asyncio.run(self._run(url, ports, bench.part(self.messages)))
            except TimeoutError:
                raise Failed(f"a message did not arrive in {LONGEST_SECONDS:.0f} s") from None
        figures = {f"{name}_p50_ms": _percentile(values, 50) for name, values in times.items()}
        figures |= {f"{name}_p99_ms": _percentile(values, 99) for name, values in times.items()}
        return {**figures, **disturbed}

    async def _run(self, url: str, ports: Sequence[int], messages: int) -> dict[str, list[float]]:
        times: dict[str, list[float]] = {name: [] for name in ("delivery", "answer", "ping", "insert")}
        async with asyncio.timeout(LONGEST_SECONDS), AsyncExitStack() as stack:
            connection = await stack.enter_async_context(_connected(ports[0]))
            follower = await stack.enter_async_context(_follower(ports[1]))
            client: AsyncMongoClient[dict[str, Any]] = await stack.enter_async_context(AsyncMongoClient(url))
            database = client.get_default_database()
            await database.beside.insert_one({})  # which makes it
            for number in range(messages):
                began = time.perf_counter()
                arrival = asyncio.create_task(_arrival(follower, f"message {number} "))
                await connection.publish(f"message {number} ")
                times["answer"].append(time.perf_counter() - began)
                times["delivery"].append(await arrival - began)
                began = time.perf_counter()
                await database.command("ping")
                times["ping"].append(time.perf_counter() - began)
                began = time.perf_counter()
                await database.beside.insert_one({"text": "x" * MESSAGE})
                times["insert"].append(time.perf_counter() - began)
        return times


@asynccontextmanager
async def _follower(port: int) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /messages?room=room0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"event: live")
        yield reader
    finally:
        writer.close()


async def _arrival(reader: asyncio.StreamReader, text: str) -> float:
    await reader.readuntil(text.encode())
    return time.perf_counter()


def _percentile(seconds: Sequence[float], of_100: int) -> float:
    """A time in ms."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[of_100 - 1] * 1e3 if seconds else math.nan
