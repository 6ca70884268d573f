"""Group commit with a fake writer, and a fake thread that works when the test says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import cast

import apsw
import msgspec
import pytest

from roomcast.log.append_queue import AppendRequest
from roomcast.log.base import Appended
from roomcast.log.consumers import Consumers
from roomcast.log.sqlite import group_commit
from roomcast.log.sqlite.committed import Committed
from roomcast.log.sqlite.group_commit import GATHERING_TURNS, GroupCommit
from roomcast.log.sqlite.job_thread import Job, JobThread
from roomcast.log.sqlite.state import LogState
from roomcast.log.sqlite.writer import SqliteWriter
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import Message
from roomcast.model.retention import Retention
from tests.log.steps import PATIENCE, draft, next_batch

ONE = AppendRequest([draft()], None)
EMPTY = LogState(0, 0, 0, 0, 0, 0, 0, 0)


class FakeWriter:
    """Counts each append as one message of 2 bytes, and notes which jobs it was given."""

    def __init__(self, state: LogState, most: int) -> None:
        self.state = state
        self.most = most
        self.jobs: list[str] = []
        self.fails = self.knows_all = False
        self.undone: list[Exception] = []

    def undo(self, error: Exception) -> None:
        self.undone.append(error)

    def commit(self, requests: Sequence[AppendRequest], floor: int | None) -> Committed:
        self.jobs.append("commit")
        if self.fails:
            raise LogUnavailable("The disk is full.")
        if self.knows_all:
            return Committed(self.state, (), [Appended((), True) for _ in requests])
        first = self.state.newest + 1
        stored = [Message(first + n, "a", None, 0, 0, b"{}") for n in range(len(requests))]
        messages = self.state.messages + len(stored)
        self.state = self.state._replace(newest=stored[-1].seq, messages=messages)
        answers = [Appended([message], False) for message in stored]
        return Committed(self.state, stored, answers, more=messages > self.most)

    def delete(self, floor: int | None) -> Committed:
        self.jobs.append("delete")
        return Committed(self.state, (), (True,))

    def trim(self, floor: int | None) -> Committed:
        self.jobs.append("trim")
        if self.fails:
            raise LogUnavailable("The disk is full.")
        self.state = self.state._replace(trimmed=self.state.newest - 1, messages=1)
        return Committed(self.state, (), ())


class FakeThread:
    """Keeps its jobs until the test calls `work`."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.given = 0

    def do(self, job: Job) -> None:
        self.jobs.append(job)
        self.given += 1

    async def work(self) -> None:
        """Does all jobs, and lets the loop handle the outcomes."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()
        await turns()


async def turns() -> None:
    """Lets the loop run timers without delay, the callbacks that they schedule, and the turns between two
    groups."""
    for _ in range(GATHERING_TURNS):
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    due = loop.create_future()
    loop.call_later(0, due.set_result, None)
    await due
    await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "TRIM_PAUSE", 0)


class Commits:
    """A group commit with the objects that it needs."""

    def __init__(self, state: LogState = EMPTY, max_messages: int = 10_000) -> None:
        self.writer, self.thread = FakeWriter(state, max_messages), FakeThread()
        self.consumers = Consumers(state.newest, state.trimmed, self._fetch, lambda: None)
        self.group = GroupCommit(
            cast(SqliteWriter, self.writer),
            cast(JobThread, self.thread),
            self.consumers,
            state,
            Retention(max_messages, 5_000_000),
        )

    async def append(self) -> Appended:
        """An append that is committed at once."""
        answer = self.group.append(ONE)
        await turns()
        await self.thread.work()
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def _fetch(self, after: int) -> Sequence[Message]:
        return ()


async def test_a_consumer_is_woken_before_the_publisher_is_answered() -> None:
    """Otherwise a publisher that also follows would get its answer a turn of the loop before the message."""
    commits, order = Commits(), list[str]()
    consumer = commits.consumers.open("test", 0)

    async def follow() -> None:
        await next_batch(consumer)
        order.append("tail")

    async def publish() -> None:
        await commits.group.append(ONE)
        order.append("publisher")

    both = asyncio.gather(publish(), follow())
    await turns()
    await commits.thread.work()
    await both
    assert order == ["tail", "publisher"]


async def test_a_step_of_trimming_waits_for_a_busy_writer() -> None:
    commits = Commits(LogState(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.trim_later()
    answer = commits.group.append(ONE)
    await turns()
    assert commits.thread.given == 1
    await commits.thread.work()
    assert (await answer).messages
    await commits.thread.work()
    assert commits.writer.jobs == ["commit", "trim"]


async def test_a_step_of_trimming_waits_for_a_group_that_is_about_to_go() -> None:
    commits = Commits(LogState(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.append(ONE)
    commits.group._trim()
    assert commits.thread.given == 0


async def test_publishes_of_clients_that_were_just_answered_join_the_waiting_ones() -> None:
    commits = Commits()
    first = commits.group.append(ONE)
    await turns()
    waited = commits.group.append(ONE)
    [job] = commits.thread.jobs
    commits.thread.jobs.clear()
    job()
    await first
    again = commits.group.append(ONE)
    await turns()
    await commits.thread.work()
    assert (waited.done(), again.done()) == (True, True)
    assert commits.writer.jobs == ["commit", "commit"]


async def test_a_quiet_log_that_is_over_its_cap_is_trimmed() -> None:
    commits = Commits(LogState(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.trim_later()
    await turns()
    await commits.thread.work()
    assert commits.writer.jobs == ["trim"]
    assert commits.consumers.trimmed == 9


async def test_appends_during_a_step_of_trimming_are_one_group_after_it() -> None:
    commits = Commits(LogState(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.trim_later()
    await turns()
    answers = [commits.group.append(ONE) for _ in range(3)]
    await turns()
    assert commits.thread.given == 1
    await commits.thread.work()
    await commits.thread.work()
    assert [(await answer).messages[0].seq for answer in answers] == [11, 12, 13]
    assert commits.writer.jobs == ["trim", "commit"]


async def test_the_log_can_be_written_again_only_once_something_was_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    commits = Commits()
    commits.writer.fails = True
    for _ in range(2):
        with pytest.raises(LogUnavailable, match="disk is full"):
            await commits.append()
    commits.writer.fails, commits.writer.knows_all = False, True
    assert (await commits.append()).repeated
    assert commits.group.unwritable == "The disk is full."
    commits.writer.knows_all = False
    assert not (await commits.append()).repeated
    assert commits.group.unwritable == ""
    assert [record.getMessage() for record in caplog.records] == [
        "The log cannot be written: The disk is full.",
        "The log can be written again: nothing is left to do.",
    ]


async def test_a_step_of_trimming_that_failed_is_repeated_although_nothing_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "TRIM_RETRY", 0)
    commits = Commits(LogState(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.writer.fails = True
    commits.group.trim_later()
    await turns()
    await commits.thread.work()
    assert commits.group.unwritable == "The disk is full."
    commits.writer.fails = False
    await turns()
    await commits.thread.work()
    assert commits.writer.jobs == ["trim", "trim"]
    assert commits.group.unwritable == ""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (apsw.FullError("full"), "The log's disk is full"),
        (msgspec.DecodeError("no JSON"), "The log's database is damaged"),
        (ValueError("too many rows"), "The log's database is damaged"),
        (LogUnavailable("The file was moved."), "The file was moved"),
        (OSError(5, "a bug", "/srv/log.db"), "^Writing the log failed: see the server's log.$"),
    ],
)
async def test_a_job_is_undone_whatever_it_raises(error: Exception, says: str) -> None:
    commits = Commits()

    def fail(floor: int | None) -> Committed:
        raise error

    job = commits.group.do(fail)
    await turns()
    await commits.thread.work()
    with pytest.raises(LogUnavailable, match=says):
        await job
    assert commits.writer.undone == [error]


async def test_the_end_waits_for_a_step_of_trimming_and_begins_none() -> None:
    commits = Commits(LogState(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.trim_later()
    await turns()
    ending = asyncio.create_task(commits.group.end())
    await turns()
    assert not ending.done()
    await commits.thread.work()
    await ending
    commits.group.trim_later()
    await turns()
    assert commits.thread.given == 1


async def test_a_job_and_the_groups_take_turns() -> None:
    commits = Commits()
    jobs = [commits.group.do(commits.writer.delete) for _ in range(2)]
    appends = [commits.group.append(ONE)]
    for _ in range(4):
        await turns()
        await commits.thread.work()
        appends.append(commits.group.append(ONE))
    await turns()
    await commits.thread.work()
    assert commits.writer.jobs == ["commit", "delete", "commit", "delete", "commit"]
    assert [await job for job in jobs] == [True, True]


async def test_a_job_goes_although_all_appends_before_it_were_cancelled() -> None:
    commits = Commits()
    append = commits.group.append(ONE)
    append.cancel()
    job = commits.group.do(commits.writer.delete)
    await turns()
    await commits.thread.work()
    assert commits.writer.jobs == ["delete"]
    assert await job


async def test_no_step_of_trimming_is_begun_before_a_job() -> None:
    commits = Commits(LogState(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    job = commits.group.do(commits.writer.delete)
    commits.group._trim()
    assert commits.thread.given == 0
    await turns()
    await commits.thread.work()
    assert await job


async def test_a_step_that_could_do_nothing_is_not_repeated_until_a_consumer_moves_on() -> None:
    commits = Commits(LogState(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.writer.trim = lambda floor: Committed(commits.writer.state, (), (), more=True)  # type: ignore[method-assign]
    commits.group.trim_later()
    for _ in range(3):
        await turns()
        await commits.thread.work()
    assert commits.thread.given == 1
    commits.group.trim_later()
    await turns()
    assert commits.thread.given == 2


async def test_each_job_of_a_log_that_ends_is_done_at_once_and_no_more_are_taken() -> None:
    commits = Commits()
    answer = commits.group.append(ONE)
    await turns()
    ending = [asyncio.create_task(commits.group.end()) for _ in range(2)]
    await asyncio.sleep(0)
    for late in (commits.group.append(ONE), commits.group.do(commits.writer.delete)):
        with pytest.raises(LogUnavailable, match="The log is closed"):
            await late
    await commits.thread.work()
    assert (await answer).messages
    await asyncio.gather(*ending)
    assert commits.writer.jobs == ["commit"]
