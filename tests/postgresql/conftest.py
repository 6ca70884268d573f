"""Logs and servers on the cluster that the tests share, and a cluster that tests may stop and kill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from roomcast.log.postgresql import log as postgresql_log
from roomcast.log.postgresql.log import PostgresLog
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.model.retention import Retention
from tests.postgresql.database import Cluster
from tests.running import Running, start_roomcast

Open = Callable[..., Awaitable[PostgresLog]]
Serve = Callable[..., Running]


@pytest.fixture
def url(postgresql: Cluster) -> Iterator[str]:
    """A database without the schema."""
    taken = postgresql.take()
    yield taken
    postgresql.give_back(taken)


@pytest.fixture
async def open_log(url: str) -> AsyncIterator[Open]:
    """Opens logs on one database. All are closed after the test."""
    logs: list[PostgresLog] = []

    async def open_one(to: str = "", tuning: PostgresTuning | None = None, **options: object) -> PostgresLog:
        retention = options.pop("retention", Retention())
        logs.append(
            await postgresql_log.open_log(to or url, "//", retention=retention, tuning=tuning, **options)  # type: ignore[arg-type]
        )
        return logs[-1]

    yield open_one
    for log in logs:
        await log.close()


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """A cluster that waits for its disk, and that the tests of a file may stop, kill and start."""
    cluster = Cluster()
    cluster.make()
    cluster.start()
    yield cluster
    cluster.remove()


@pytest.fixture
def serve_on(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers on connection strings. All are killed after the test."""
    running: list[Running] = []

    def start(url: str, *options: str, env: dict[str, str] | None = None) -> Running:
        running.append(start_roomcast(tmp_path, "--log", url, *options, env=env))
        return running[-1]

    yield start
    for server in running:
        server.kill()
