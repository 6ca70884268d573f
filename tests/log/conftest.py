"""A log of every kind. A blocking call on the event loop, made from within roomcast, fails the test."""

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
    """A log over a socket, whose other end is closed with it."""

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
        # The driver looks once, for each server it finds, whether it runs in a container.
        blocking.functions["os.stat"].can_block_in("pymongo/pool_options.py", "get_container_env_info")
        # A service file, .pgpass and certificates are read with each connection that is made.
        for function in blocking.functions.values():
            function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test on each backend, but for a promise that a backend keeps in a way of its own and tests itself."""
    if "kind" in metafunc.fixturenames:
        own = metafunc.definition.get_closest_marker("not_on")
        others = own.args if own else ()
        left_out = {*others, *(SERVERS if "mongodb" in others else ())}
        metafunc.parametrize("kind", [name for name in BACKENDS if name not in left_out])


@pytest.fixture
async def open_log(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Opens a log of this kind, with caps, `rooms` (rules) and `empty_rooms`; all are closed with the test."""
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
    """What MongoDB does with each insert FerretDB does when it is asked to."""
    async with AsyncMongoClient[dict[str, object]](url) as client:
        while True:
            with suppress(PyMongoError):
                await client.get_default_database().command("compact", "messages")
            await asyncio.sleep(0.02)


@pytest.fixture
async def log(open_log: Open) -> Log:
    """A log with room for all that a test stores."""
    return await open_log()
