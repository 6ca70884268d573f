"""Counts the asyncio tasks of a server: a signal makes it write the count to its output."""

from __future__ import annotations

import re
import signal

from tests.running import Running, wait_for

TELLING = """
import asyncio, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: print("tasks:", len(asyncio.all_tasks()), file=sys.stderr, flush=True))
from roomcast.cli.main import main
main()
"""
"""The program of such a server. A test may put code before it that changes the server."""


def tasks_of(server: Running) -> int:
    """The number of tasks of a server that was started with `program=("-c", TELLING)`."""

    def told() -> list[str]:
        return re.findall(r"^tasks: (\d+)\n", server.said(), re.MULTILINE)

    before = len(told())
    server.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: len(told()) > before, "a count of tasks")
    return int(told()[-1])
