"""The thread of the writer: jobs in order, and its end."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from threading import Event

import pytest

from roomcast.log.sqlite.job_thread import JobThread
from tests.log.steps import PATIENCE


def test_the_end_waits_for_all_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    thread, goes_on, done = JobThread("test"), Event(), list[int]()
    join = thread._thread.join

    def wait() -> None:
        goes_on.wait(PATIENCE)
        done.append(0)

    def release_and_join() -> None:
        goes_on.set()
        join()

    thread.do(wait)
    for number in (1, 2):
        thread.do(partial(done.append, number))
    monkeypatch.setattr(thread._thread, "join", release_and_join)
    thread.end()
    assert done == [0, 1, 2]


def test_a_program_that_does_not_close_its_log_ends() -> None:
    program = "from roomcast.log.sqlite.job_thread import JobThread; JobThread('test')"
    assert subprocess.run([sys.executable, "-c", program], timeout=PATIENCE).returncode == 0
