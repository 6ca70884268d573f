"""How many tasks a server has: it is asked by a signal, and says so in its output."""

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
"""The program that does; what comes before it changes the server."""


def tasks_of(server: Running) -> int:
    """One that was started with `program=("-c", TELLING)`."""

    def told() -> list[str]:
        return re.findall(r"^tasks: (\d+)\n", server.said(), re.MULTILINE)

    before = len(told())
    server.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: len(told()) > before, "a count of tasks")
    return int(told()[-1])
