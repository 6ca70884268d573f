"""A log of every kind. A blocking call on the event loop, made from within roomcast, fails the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from roomcast.log import memory, sqlite
from roomcast.log.base import Log, Retention

Open = Callable[..., Awaitable[Log]]

BACKENDS: dict[str, Open] = {"memory": memory.open_log, "sqlite": sqlite.open_log}


@pytest.fixture(autouse=True)
def no_blocking_call() -> Iterator[None]:
    with blockbuster_ctx("roomcast"):
        yield


@pytest.fixture(params=list(BACKENDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def open_log(kind: str, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens a log of this kind, with `max_messages`, `max_bytes`, `empty_rooms`; all are closed with the test."""
    logs: list[Log] = []

    async def open_one(max_messages: int = 10_000, max_bytes: int = 5_000_000, **options: object) -> Log:
        path = str(tmp_path / f"{len(logs)}.db")
        retention = Retention(max_messages, max_bytes)
        logs.append(await BACKENDS[kind](f"{kind}:", path, retention=retention, **options))
        return logs[-1]

    yield open_one
    for log in logs:
        await log.close()


@pytest.fixture
async def log(open_log: Open) -> Log:
    """A log with room for all that a test stores."""
    return await open_log()
