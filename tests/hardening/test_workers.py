"""Each process of a server with workers is killed, and stopped, under load."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from tests.conftest import Serve
from tests.hardening.load import Load
from tests.hardening.test_kill import killed_and_restarted
from tests.running import Running
from tests.workers import kill, processes, wait_until_another


async def test_whichever_process_is_killed_nothing_is_lost_doubled_or_reordered(serve: Serve) -> None:
    server = serve("--workers=2", "--no-access-log")
    async with Load(server) as load:
        for name in ("1", "log", "2", "log", "1", "2"):
            await load.hold(20)
            await asyncio.to_thread(killed, server, name)
            await load.hold(5)
        server = await killed_and_restarted(serve, server, "--workers=2", "--no-access-log")
        await load.hold(20)
    await load.check_no_hole()


async def test_the_gaps_told_across_the_deaths_of_processes_are_exact_while_the_log_trims_fast(
    serve: Serve,
) -> None:
    options = ("--workers=2", "--max-messages", "50", "--no-access-log")
    server = serve(*options)
    async with Load(server) as load:
        for name in ("log", "1", "log", "2"):
            await load.hold(100)
            await asyncio.to_thread(killed, server, name)
        server = await killed_and_restarted(serve, server, *options)
        await load.hold(100)
    assert load.record.counts["gaps"] > 0


def killed(server: Running, name: str) -> None:
    pid = kill(server, name)
    wait_until_another(server, name, pid)


STOPPED = os.environ.get("ROOMCAST_TEST_STOPPED_SECONDS")
"""Seconds for which each process is stopped, such as 20, in place of the short times below."""


@pytest.mark.parametrize(("name", "seconds"), [("1", 6.5), ("log", 1), ("supervisor", 1)])
async def test_a_process_that_stood_still_goes_on_and_nothing_is_lost(
    serve: Serve, name: str, seconds: float
) -> None:
    """A worker is stopped for longer than trimming waits for it: its followers are told a gap."""
    server = serve("--workers=2", "--max-messages", "200", "--heartbeat=1", "--no-access-log")
    pid = server.process.pid if name == "supervisor" else processes(server)[name]
    async with Load(server, pause=0.1) as load:
        await load.hold(50)
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(float(STOPPED or seconds))
        finally:
            os.kill(pid, signal.SIGCONT)
        await load.hold(50)
