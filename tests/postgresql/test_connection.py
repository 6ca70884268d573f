"""Connections that are lost, refused or closed. No database."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from roomcast.log.postgresql import connection
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.queries import QUERIES


class Connection:
    """The methods of asyncpg's connection that a session needs."""

    def __init__(self) -> None:
        self.executed: list[str] = []
        self.closed = self.terminated = self.hangs = False
        self.trouble: Exception | None = None
        """The error of its set-up."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def fetchval(self, query: str, timeout: float) -> int:
        if self.trouble:
            raise self.trouble
        return 1

    def get_server_pid(self) -> int:
        return 1

    async def execute(self, text: str, timeout: float) -> None:
        self.executed.append(text)

    def is_closed(self) -> bool:
        return self.closed

    async def close(self, timeout: float) -> None:
        if self.hangs:
            raise TimeoutError
        self.closed = True

    def lose(self) -> None:
        self.closed = True
        raise ConnectionResetError

    def terminate(self) -> None:
        self.closed = self.terminated = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The connections of the test: each connect takes the last one, or a new one."""
    made = [Connection()]

    async def connect(url: str) -> Any:
        if made[-1].closed:
            made.append(Connection())
        return made[-1]

    monkeypatch.setattr(connection, "_connect", connect)
    return made


async def test_a_failed_transaction_is_rolled_back(opened: list[Connection]) -> None:
    with pytest.raises(LookupError):
        async with Session("").transaction():
            raise LookupError
    assert opened[0].executed[-2:] == ["BEGIN", "ROLLBACK"]


async def test_a_transaction_whose_connection_is_lost_needs_no_rollback(opened: list[Connection]) -> None:
    session = Session("")
    with pytest.raises(ConnectionResetError):
        async with session.transaction():
            opened[0].lose()
    assert opened[0].executed[-1] == "BEGIN"
    async with session.transaction():
        pass
    assert opened[1].executed[-2:] == ["BEGIN", "COMMIT"]


async def test_a_connection_that_does_not_close_is_terminated(opened: list[Connection]) -> None:
    session = Session("")
    await session.script("SELECT 1")
    opened[0].hangs = True
    await session.close()
    assert opened[0].terminated


async def test_a_closed_session_opens_no_connection(opened: list[Connection]) -> None:
    session = Session("")
    await session.close()
    with pytest.raises(asyncpg.InterfaceError, match="the log is closed"):
        await session.script("SELECT 1")
    assert not session.listening


async def test_a_connection_that_cannot_be_set_up_is_terminated(opened: list[Connection]) -> None:
    session = Session("")
    opened[0].trouble = asyncpg.PostgresConnectionError("gone")
    with pytest.raises(asyncpg.PostgresConnectionError):
        await session.script("SELECT 1")
    assert opened[0].terminated
    await session.script("SELECT 1")
    assert opened[1].executed[-2:] == ["SELECT 1", "COMMIT"]


def test_the_database_gives_up_a_call_before_its_client_does() -> None:
    limits = re.findall(r"(?:lock|statement)_timeout = '(\d+)s'", QUERIES["settings"])
    assert len(limits) == 2
    assert max(map(int, limits)) < connection._CALL_SECONDS
