"""A thread that does one job after another. It returns no results: a job itself passes on its outcome.

A `ThreadPoolExecutor` would make a future for each job, and take half a dozen locks for it: a twelfth of the CPU
time of a publish that is alone in its commit.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

Job = Callable[[], None]


class JobThread:
    """Starts at once; ends with `end`."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # A daemon, so that a program can end without closing its log.
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Job) -> None:
        """Does a job after those given before. The job must not raise."""
        self._jobs.put(job)

    def end(self) -> None:
        """Waits until all jobs are done."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while job := self._jobs.get():
            job()
