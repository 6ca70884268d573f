"""The thread of the writer: jobs in order, and its end."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from threading import Event, Thread

from roomcast.log.sqlite.job_thread import JobThread
from tests.log.steps import PATIENCE


def test_the_end_waits_for_all_jobs() -> None:
    thread, goes_on, done = JobThread("test"), Event(), list[int]()

    def wait() -> None:
        goes_on.wait(PATIENCE)
        done.append(0)

    thread.do(wait)
    for number in (1, 2):
        thread.do(partial(done.append, number))
    releasing = Thread(target=goes_on.set)
    releasing.start()
    thread.end()
    assert done == [0, 1, 2]
    releasing.join()


def test_a_program_that_does_not_close_its_log_ends() -> None:
    program = "from roomcast.log.sqlite.job_thread import JobThread; JobThread('test')"
    assert subprocess.run([sys.executable, "-c", program], timeout=PATIENCE).returncode == 0
