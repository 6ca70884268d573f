"""Repeated kill -9 while messages are published and followed."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import Serve
from tests.hardening.load import Load
from tests.running import Running

ROUNDS = 20


async def test_twenty_kills_lose_double_and_reorder_nothing(serve: Serve) -> None:
    server = serve()
    async with Load(server) as load:
        for _ in range(ROUNDS):
            await load.hold(load.random.choice((1, 10, 40)))
            server = await killed_and_restarted(serve, server)
    await load.check_no_hole()


@pytest.mark.usefixtures("one_or_two_workers")
async def test_the_gaps_told_across_kills_are_exact_while_the_log_trims_fast(serve: Serve) -> None:
    options = ("--max-messages", "50")
    server = serve(*options)
    async with Load(server) as load:
        for _ in range(5):
            await load.hold(100)
            server = await killed_and_restarted(serve, server, *options)
    assert load.record.counts["gaps"] > 0


async def killed_and_restarted(serve: Serve, server: Running, *options: str) -> Running:
    """Kills the server without waiting for requests, and starts one on the same file and port."""
    server.kill()
    return await asyncio.to_thread(serve, "--port", str(server.port), *options)
