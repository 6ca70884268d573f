"""Fixtures that open a log of each kind. A blocking call of roomcast on the event loop fails the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from roomcast import tasks
from roomcast.log import clock as machine
from roomcast.log import memory
from roomcast.log.base import Log
from roomcast.log.mongodb import log as mongodb
from roomcast.log.postgresql import log as postgresql
from roomcast.log.remote.link import Link
from roomcast.log.remote.log import RemoteLog
from roomcast.log.remote.server import LogServer
from roomcast.log.sqlite import log as sqlite
from roomcast.model.retention import Retention, RoomRule
from tests.mongodb.database import SERVERS, MongoDB
from tests.postgresql.database import Cluster

Open = Callable[..., Awaitable[Log]]


class Worker(RemoteLog):
    """A log over a socket. Closing it also closes the log at the other end."""

    @classmethod
    async def open(cls, url: str, path: str, **options: Any) -> Worker:
        owned = await sqlite.open_log(url, path, **options)
        server, link = LogServer(owned), Link()
        worker = cls(link)
        worker.owned, worker.server = owned, server
        ours, theirs = socket.socketpair()
        await server.connect(1, theirs)
        await link.connect(ours)
        await worker.opened()
        return worker

    owned: Log
    server: LogServer

    async def close(self) -> None:
        await super().close()
        self.server.close()
        await self.owned.close()


BACKENDS: dict[str, Open] = {
    "memory": memory.open_log,
    "sqlite": sqlite.open_log,
    "postgresql": postgresql.open_log,
    "remote": Worker.open,
    **dict.fromkeys(SERVERS, mongodb.open_log),
}


@pytest.fixture(autouse=True)
def no_blocking_call() -> Iterator[None]:
    with blockbuster_ctx("roomcast") as blocking:
        # The driver checks once for each server whether it runs in a container.
        blocking.functions["os.stat"].can_block_in("pymongo/pool_options.py", "get_container_env_info")
        # The driver reads a service file, .pgpass and certificates with each connection.
        for function in blocking.functions.values():
            function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The clock of the log: a list with the time in ms, which the test may change."""
    time = [1_000]
    monkeypatch.setattr(machine, "clock", lambda: time[0] * 1_000_000)
    return time


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test on each backend, except on those that keep this promise in their own way and test that
    themselves."""
    if "kind" in metafunc.fixturenames:
        own = metafunc.definition.get_closest_marker("not_on")
        others = own.args if own else ()
        left_out = {*others, *(SERVERS if "mongodb" in others else ())}
        metafunc.parametrize("kind", [name for name in BACKENDS if name not in left_out])


@pytest.fixture
async def open_log(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """A function that opens a log of this kind, with caps, rules (`rooms`) and `empty_rooms`. All logs are closed
    at the end of the test."""
    logs: list[Log] = []
    server: MongoDB | None = request.getfixturevalue(kind) if kind in SERVERS else None
    trimming: list[asyncio.Task[None]] = []
    taken: list[str] = []
    cluster: Cluster | None = request.getfixturevalue(kind) if kind == "postgresql" else None

    async def open_one(
        max_messages: int = 10_000,
        max_bytes: int = 5_000_000,
        max_age: float | None = None,
        rooms: tuple[RoomRule, ...] = (),
        **options: object,
    ) -> Log:
        retention = Retention(max_messages, max_bytes, max_age, rooms)
        if server:
            url = server.url()
            logs.append(await BACKENDS[kind](url, "", retention=retention, tuning=server.tuning, **options))
            if max_messages < 10_000 and not server.trims:
                trimming.append(asyncio.create_task(keep_trimmed(url)))
        elif cluster:
            taken.append(cluster.take())
            logs.append(await BACKENDS[kind](taken[-1], "//", retention=retention, **options))
        else:
            path = str(tmp_path / f"{len(logs)}.db")
            logs.append(await BACKENDS[kind](f"{kind}:", path, retention=retention, **options))
        return logs[-1]

    yield open_one
    await tasks.cancel(trimming)
    for log in logs:
        await log.close()
    for url in taken:
        assert cluster
        cluster.give_back(url)


async def keep_trimmed(url: str) -> None:
    """Has FerretDB trim again and again, as MongoDB does with each insert."""
    async with AsyncMongoClient[dict[str, object]](url) as client:
        while True:
            with suppress(PyMongoError):
                await client.get_default_database().command("compact", "messages")
            await asyncio.sleep(0.02)


@pytest.fixture
async def log(open_log: Open) -> Log:
    """A log large enough for everything that a test stores."""
    return await open_log()
