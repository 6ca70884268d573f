"""A log in SQLite that a test can close and open again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from roomcast.log.sqlite import log as sqlite
from roomcast.log.sqlite.log import SqliteLog
from roomcast.model.retention import Retention

Reopen = Callable[..., Awaitable[SqliteLog]]


@contextmanager
def without_rights() -> Iterator[None]:
    """Runs as a user who may write no files of root's."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def open_files(path: Path) -> list[str]:
    """The names of the files of this database that the process has open."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the descriptor of the list itself
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [name for name in found if name.startswith(str(path))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def reopen(path: Path) -> AsyncIterator[Reopen]:
    """A function that opens the log, after closing it if it is open."""
    logs: list[SqliteLog] = []

    async def open_again(
        max_messages: int = 10_000, max_bytes: int = 5_000_000, path: Path = path, **options: object
    ) -> SqliteLog:
        if logs:
            await logs.pop().close()
        retention = Retention(max_messages, max_bytes)
        logs.append(await sqlite.open_log(f"sqlite:{path}", str(path), retention=retention, **options))  # type: ignore[arg-type]
        return logs[-1]

    yield open_again
    if logs:
        await logs.pop().close()


@pytest.fixture
async def log(reopen: Reopen) -> SqliteLog:
    return await reopen()
