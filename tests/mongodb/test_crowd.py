"""Four servers, a crowd of followers, and a database that is killed again and again."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain, groupby

import httpx
import pytest

from roomcast.log.mongodb import log as mongodb
from roomcast.log.mongodb.opening import MongoTuning
from roomcast.model.retention import Retention
from tests.log.steps import draft, seqs
from tests.mongodb.conftest import Serve
from tests.mongodb.database import FerretDB, MongoDB, fresh_name
from tests.mongodb.proxy import Proxy

FOLLOWERS = 200
PUBLISHERS = 8
KILLS = 5
TURNS = 50


class Crowd:
    """Followers that resume by their last id, with the ids that each one received."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.received: list[list[str]] = []
        self.gaps: list[str] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def follow(self, number: int) -> None:
        """Follows until it is cancelled, each time on a random server."""
        received: list[str] = []
        self.received.append(received)
        position = ""
        while True:
            try:
                async for id, event, _ in self._stream(random.choice(self.ports), position):
                    position = id
                    if event == "gap":
                        self.gaps.append(id)
                    elif not event:
                        received.append(id)
            except (OSError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(0.1)

    def cut(self) -> None:
        """Cuts a random connection."""
        if self._writers:
            random.choice(list(self._writers)).transport.abort()

    async def _stream(self, port: int, position: str) -> AsyncIterator[tuple[str, str, str]]:
        async with self._connected(port) as (reader, writer):
            head = f"GET /messages?room=a HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: {position}\r\n\r\n"
            writer.write((head if position else head.replace(f"Last-Event-ID: {position}\r\n", "")).encode())
            await reader.readuntil(b"\r\n\r\n")
            fields: dict[str, str] = {}
            while line := await reader.readline():
                name, _, value = line.decode().rstrip("\n").partition(":")
                if name:
                    fields[name] = value.strip()
                elif "data" in fields:
                    yield fields["id"], fields.get("event", ""), fields["data"]
                    fields = {}

    @asynccontextmanager
    async def _connected(self, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        self._writers.add(writer)
        try:
            yield reader, writer
        finally:
            self._writers.discard(writer)
            writer.close()


async def publish(ports: list[int], name: str, stop: asyncio.Event, stored: dict[str, str]) -> None:
    """Publishes messages to random servers, each with a key and repeated until it is acknowledged."""
    async with httpx.AsyncClient(timeout=20) as client:
        number = 0
        while not stop.is_set():
            number += 1
            text = f"{name}-{number}"
            while text not in stored:
                url = f"http://127.0.0.1:{random.choice(ports)}/messages"
                answer = await client.post(
                    url, json={"room": "a", "text": text}, headers={"Idempotency-Key": text}
                )
                if answer.status_code in (200, 201):
                    stored[text] = answer.json()["id"]
            await asyncio.sleep(0.2)


async def test_every_acknowledged_message_reaches_every_follower_once_whatever_happens_to_the_database(
    serve_on: Serve, database: FerretDB
) -> None:
    url = f"{database.url}/{fresh_name()}"
    ports = [serve_on(url).port for _ in range(4)]
    crowd, stored, stop = Crowd(ports), dict[str, str](), asyncio.Event()
    followers = [asyncio.create_task(crowd.follow(n)) for n in range(FOLLOWERS)]
    publishers = [asyncio.create_task(publish(ports, f"p{n}", stop, stored)) for n in range(PUBLISHERS)]
    for _ in range(KILLS):
        await reached(partial(has_grown, stored, len(stored) + 15))
        crowd.cut()
        await asyncio.to_thread(database.kill)
        await asyncio.to_thread(database.start)
    stop.set()
    await asyncio.wait_for(asyncio.gather(*publishers), 60)
    everything = sorted(stored.values(), key=lambda id: int(id.rpartition("-")[2]))
    await reached(lambda: all(len(received) >= len(everything) for received in crowd.received))
    for task in followers:
        task.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    assert crowd.gaps == []
    assert Counter(map(tuple, crowd.received)) == {tuple(everything): FOLLOWERS}
    assert [id.rpartition("-")[2] for id in everything] == [str(n + 1) for n in range(len(everything))]


async def reached(state: Callable[[], bool]) -> None:
    """Waits for a state of other processes."""
    async with asyncio.timeout(60):
        while not state():  # noqa: ASYNC110 -- other processes give no event
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("writers", [2, 4])
async def test_writers_flat_out_share_one_dense_order_and_none_is_starved(mongo: MongoDB, writers: int) -> None:
    """All logs are in this process and share only the database. The first turns are not counted: one log writes
    alone until it notices the others. Nor is the last turn, which is cut short."""
    url, tuning = mongo.url(), mongo.tuning._replace(check_seconds=MongoTuning().check_seconds)
    logs = [await mongodb.open_log(url, "", retention=Retention(), tuning=tuning) for _ in range(writers)]
    owner: dict[int, int] = {}
    handovers = 0

    async def flat_out(which: int) -> None:
        nonlocal handovers
        while handovers < TURNS:
            for seq in seqs((await logs[which].append([draft()])).messages):
                assert seq not in owner
                owner[seq] = which
                handovers += sum(owner.get(neighbour, which) != which for neighbour in (seq - 1, seq + 1))

    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(flat_out(which) for which in range(writers)))
    finally:
        for log in logs:
            await log.close()
    assert sorted(owner) == list(range(1, len(owner) + 1))
    turns = [list(turn) for _, turn in groupby(owner[seq] for seq in sorted(owner))]
    shares = Counter(chain(*turns[2 * writers : -1]))
    assert min(shares[which] for which in range(writers)) >= shares.total() / (1.5 * writers), shares


@pytest.mark.parametrize("behind", [False, True], ids=["where they were", "from the beginning"])
async def test_two_thousand_followers_that_reconnect_at_once_cost_the_database_a_few_reads(
    serve_on: Serve, mongo: MongoDB, behind: bool
) -> None:
    async with Proxy(mongo.address) as proxy:
        server = await asyncio.to_thread(serve_on, mongo.url(address=proxy.address))
        async with httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{server.port}/messages"
            answers = [await client.post(url, json={"room": "a", "text": str(n)}) for n in range(20)]
        position = answers[0 if behind else -1].json()["id"]
        before, began = reads(proxy), time.monotonic()
        await asyncio.wait_for(asyncio.gather(*(until_live(server.port, position) for _ in range(2_000))), 60)
        # Each check makes three reads, however many followers there are.
        looks = 3 * ((time.monotonic() - began) / MongoTuning().check_seconds + 1)
        assert reads(proxy) - before < 10 + looks


def reads(proxy: Proxy) -> int:
    return sum(count for (name, _), count in proxy.commands.items() if name in ("find", "aggregate"))


def has_grown(found: Sized, size: int) -> bool:
    return len(found) >= size


async def until_live(port: int, position: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /messages?room=a HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {position}\r\n\r\n".encode())
    await reader.readuntil(b"event: live")
    data = await reader.readuntil(b"\n\n")
    assert json.loads(data.partition(b"data: ")[2])
    writer.close()
