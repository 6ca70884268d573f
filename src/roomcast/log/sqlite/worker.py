"""A thread that does one job after another, and answers for none: a job says itself what came of it.

A `ThreadPoolExecutor` makes a future for each job, and takes half a dozen locks for it: a twelfth of the CPU time
of a publish that is alone in its commit.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

Job = Callable[[], None]


class Worker:
    """Begins at once, and ends when told to."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # A daemon, so that a program that ends without closing its log does end.
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Job) -> None:
        """Behind those given before. It must not raise."""
        self._jobs.put(job)

    def end(self) -> None:
        """Waits until all that was given is done."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while job := self._jobs.get():
            job()
