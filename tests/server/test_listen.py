"""How a server starts, and how a start fails."""

from __future__ import annotations

import asyncio
import socket

import pytest

from roomcast.auth.guard import NO_GUARD
from roomcast.delivery.engine import Engine
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import CannotStart, LogUnavailable, LogUnusable
from roomcast.model.settings import Settings
from roomcast.serve.listen import Endpoint
from roomcast.serve.server import serve
from tests.running import PATIENCE

SETTINGS = Settings(log="memory:")


async def test_a_server_that_can_take_no_connections_says_so_and_ends() -> None:
    """It once waited for ever to be answering."""
    closed = socket.socket()
    closed.close()

    async def started(service: Engine) -> None:
        raise AssertionError("it did not start")

    before = asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(CannotStart, match="cannot accept connections"):
            await serve(
                Engine.open(SETTINGS),
                asyncio.get_running_loop().create_future(),
                [Endpoint([closed], "localhost", 1)],
                NO_GUARD,
                started,
            )
    assert asyncio.all_tasks() - before == set()


async def test_a_log_that_opens_and_then_does_not_answer_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(log: MemoryLog) -> None:
        raise LogUnavailable("The disk fails.")

    monkeypatch.setattr(MemoryLog, "bounds", fail)
    with pytest.raises(LogUnusable, match="The disk fails"):
        await Engine.open(SETTINGS)
