"""The way from the loop to SQLite's writer and back, with a writer and a thread that do nothing by themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import cast

import pytest

from roomcast.log.append_queue import Request
from roomcast.log.base import Appended
from roomcast.log.consumers import Consumers
from roomcast.log.sqlite import group_commit
from roomcast.log.sqlite.group_commit import GATHERING_TURNS, GroupCommit
from roomcast.log.sqlite.state import State
from roomcast.log.sqlite.worker import Job, Worker
from roomcast.log.sqlite.writer import Committed, Writer
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import Message
from roomcast.model.retention import Retention
from tests.log.acting import PATIENCE, draft, next_batch

ONE = Request([draft()], None)
EMPTY = State(0, 0, 0, 0, 0, 0, 0, 0)


class FakeWriter:
    """Stores each append as one message of 2 bytes, keeps nothing, and notes what it was asked for."""

    def __init__(self, state: State, most: int) -> None:
        self.state = state
        self.most = most
        self.asked: list[str] = []
        self.fails = self.knows_all = False

    def commit(self, requests: Sequence[Request], floor: int | None) -> Committed:
        self.asked.append("commit")
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

    def trim(self, floor: int | None) -> Committed:
        self.asked.append("trim")
        self.state = self.state._replace(trimmed=self.state.newest - 1, messages=1)
        return Committed(self.state, (), ())


class FakeWorker:
    """Jobs wait until a test has them done."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.given = 0

    def do(self, job: Job) -> None:
        self.jobs.append(job)
        self.given += 1

    async def work(self) -> None:
        """Does what was given, and lets the loop hear of it."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()
        await turns()


async def turns() -> None:
    """Long enough for timers of no delay, what they call, and the turns between two groups."""
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
    """What is tested, and what stands around it."""

    def __init__(self, state: State = EMPTY, max_messages: int = 10_000) -> None:
        self.writer, self.worker = FakeWriter(state, max_messages), FakeWorker()
        self.consumers = Consumers(state.newest, state.trimmed, self._fetch, lambda: None)
        self.group = GroupCommit(
            cast(Writer, self.writer),
            cast(Worker, self.worker),
            self.consumers,
            state,
            Retention(max_messages, 5_000_000),
        )

    async def append(self) -> Appended:
        """One that is committed at once."""
        answer = self.group.append(ONE)
        await turns()
        await self.worker.work()
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def _fetch(self, after: int) -> Sequence[Message]:
        return ()


async def test_the_tail_is_woken_before_the_publisher_is_answered() -> None:
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
    await commits.worker.work()
    await both
    assert order == ["tail", "publisher"]


async def test_a_step_of_trimming_waits_for_a_writer_that_is_busy() -> None:
    commits = Commits(State(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.trim_later()
    answer = commits.group.append(ONE)
    await turns()
    assert commits.worker.given == 1
    await commits.worker.work()
    assert (await answer).messages
    await commits.worker.work()
    assert commits.writer.asked == ["commit", "trim"]


async def test_a_step_of_trimming_waits_for_a_group_that_is_about_to_go() -> None:
    commits = Commits(State(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.append(ONE)
    commits.group._trim()
    assert commits.worker.given == 0


async def test_publishes_of_clients_that_were_just_answered_go_with_those_that_waited() -> None:
    commits = Commits()
    first = commits.group.append(ONE)
    await turns()
    waited = commits.group.append(ONE)
    [job] = commits.worker.jobs
    commits.worker.jobs.clear()
    job()
    await first
    again = commits.group.append(ONE)
    await turns()
    await commits.worker.work()
    assert (waited.done(), again.done()) == (True, True)
    assert commits.writer.asked == ["commit", "commit"]


async def test_a_quiet_log_that_is_over_its_cap_is_trimmed() -> None:
    commits = Commits(State(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.trim_later()
    await turns()
    await commits.worker.work()
    assert commits.writer.asked == ["trim"]
    assert commits.consumers.trimmed == 9


async def test_appends_that_come_while_it_trims_are_one_group_behind_it() -> None:
    commits = Commits(State(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.trim_later()
    await turns()
    answers = [commits.group.append(ONE) for _ in range(3)]
    await turns()
    assert commits.worker.given == 1
    await commits.worker.work()
    await commits.worker.work()
    assert [(await answer).messages[0].seq for answer in answers] == [11, 12, 13]
    assert commits.writer.asked == ["trim", "commit"]


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
        "The log can be written again.",
    ]


async def test_the_end_waits_for_a_step_of_trimming_and_begins_none() -> None:
    commits = Commits(State(10, 0, 0, 20, 0, 0, 10, 0), max_messages=5)
    commits.group.trim_later()
    await turns()
    ending = asyncio.create_task(commits.group.end())
    await turns()
    assert not ending.done()
    await commits.worker.work()
    await ending
    commits.group.trim_later()
    await turns()
    assert commits.worker.given == 1
