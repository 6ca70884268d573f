"""The writer's answers when the database fails. No database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from asyncpg import exceptions as pg

from roomcast.log.append_queue import AppendRequest
from roomcast.log.postgresql.caps import PostgresCaps
from roomcast.log.postgresql.writer import PostgresWriter
from roomcast.model.errors import LogUnavailable, RoomcastError
from roomcast.model.retention import Retention
from tests.log.steps import draft, seqs, until
from tests.postgresql.fakes import QUICK, Answer, FakeSession, tail_on

STORED: dict[str, Any] = {
    "again": False,
    "synced": True,
    "nonce": 1,
    "first": 1,
    "stored_at": 1,
    "prevs": [0],
    "known_requests": None,
    "room_names": ["a"],
    "room_messages": [1],
    "room_bytes": [2],
    "newest": 1,
    "trimmed": 0,
    "messages": 1,
    "bytes": 2,
    "changes": 0,
}
"""The result of an append of one message."""
TRIMMED = {"still_over": [], "more": False, "trimmed": 0, "messages": 0, "bytes": 0, "changes": 0}


class Writing:
    """A writer on a database that answers as the test says."""

    def __init__(self) -> None:
        self.session = FakeSession(append=[[STORED]], trim=[[TRIMMED]])
        self.tail = tail_on(self.session)
        caps = PostgresCaps(Retention())
        self.writer = PostgresWriter(
            self.session, self.tail, self.tail._consumers, caps, 10, QUICK._replace(patience=60)
        )

    def answer(self, query: str, *answers: Answer) -> None:
        self.session.answers[query] = list(answers)

    async def append(self) -> Sequence[int]:
        return seqs((await self.writer.append(AppendRequest([draft()], None))).messages)


@pytest.fixture
async def writing() -> AsyncIterator[Writing]:
    one = Writing()
    await one.tail.begin()
    one.writer.begin()
    yield one
    one.session.answers.clear()
    await one.writer.end()


@pytest.mark.parametrize(
    "error", [OSError("gone"), pg.AdminShutdownError("stopped"), pg.LockNotAvailableError("held")]
)
async def test_an_append_is_repeated_after_an_error_that_passes(
    writing: Writing, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    writing.answer("append", error, [STORED])
    assert await writing.append() == [1]
    assert writing.session.calls["append"] == 2
    assert [text.partition(":")[0] for text in caplog.messages if "publishing" in text] == [
        "publishing waits; once the database takes writes, it goes on by itself",
        "publishing goes on",
    ]
    assert writing.writer.unwritable == ""


async def test_an_append_that_the_database_rejects_is_refused_at_once(writing: Writing) -> None:
    writing.answer("append", pg.InsufficientPrivilegeError("no"), [STORED])
    with pytest.raises(LogUnavailable, match="unexpected answer"):
        await writing.append()
    assert "unexpected answer" in writing.writer.unwritable
    assert await writing.append() == [1]


async def test_an_append_waits_until_the_log_can_be_read(writing: Writing) -> None:
    writing.tail.note_outage(LogUnavailable("away"))
    waiting = writing.writer.append(AppendRequest([draft()], None))

    async def waits() -> bool:
        return writing.writer.unwritable == "away"

    await until(waits)
    assert not writing.session.calls["append"]
    writing.tail.outage.end()
    assert seqs((await waiting).messages) == [1]


async def test_a_message_that_the_disk_does_not_have_after_a_failover_is_stored_again(writing: Writing) -> None:
    writing.answer("append", [{**STORED, "synced": False}], [STORED])
    writing.answer("sync", [{"found": False}])
    assert await writing.append() == [1]
    assert writing.session.calls["append"] == 2


async def test_a_job_is_run_once_and_its_error_is_its_callers(writing: Writing) -> None:
    runs: list[Exception] = []

    def failing(error: Exception) -> Any:
        async def job() -> None:
            runs.append(error)
            raise error

        return job

    for error in (OSError("gone"), LogUnavailable("away")):
        with pytest.raises(LogUnavailable, match=r"gone|away"):
            await writing.writer.submit(failing(error))
    assert len(runs) == 2


@pytest.mark.parametrize("fails", [True, False])
async def test_a_job_whose_caller_has_gone_is_still_run(writing: Writing, fails: bool) -> None:
    runs: list[int] = []

    async def job() -> int:
        runs.append(1)
        if fails:
            raise asyncpg.InterfaceError("gone")
        return 1

    writing.writer.submit(job).cancel()

    async def other() -> int:
        return 2

    assert await writing.writer.submit(other) == 2
    assert runs == [1]


@pytest.mark.parametrize("fault", ["the query", "its result"])
async def test_an_unexpected_error_fails_one_group_and_the_writer_goes_on(
    writing: Writing, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    writing.answer("append", KeyError("x") if fault == "the query" else [{"synced": True}], [STORED])
    with pytest.raises(RoomcastError, match="see the server's log"):
        await writing.append()
    assert "a group of publishes failed" in caplog.messages
    assert await writing.append() == [1]


async def test_an_unexpected_error_fails_one_job_and_the_writer_goes_on(
    writing: Writing, caplog: pytest.LogCaptureFixture
) -> None:
    async def job() -> None:
        raise KeyError("x")

    with pytest.raises(RoomcastError, match="see the server's log"):
        await writing.writer.submit(job)
    assert "a job of the writer failed" in caplog.messages
    assert await writing.append() == [1]


@pytest.mark.parametrize(
    "error", [OSError("gone"), KeyError("x"), None], ids=["an error", "an unexpected error", "an outage"]
)
async def test_a_step_of_trimming_that_fails_is_repeated_later(writing: Writing, error: Exception | None) -> None:
    trimmer = writing.writer.trimmer
    if error:
        writing.answer("trim", error)
    else:
        writing.tail.note_outage(LogUnavailable("away"))

    async def failed() -> bool:
        return not trimmer.due and trimmer._timer is not None and trimmer._timer.when() > requested + 0.1

    trimmer.request()
    assert trimmer._timer
    requested = trimmer._timer.when()
    await until(failed)
    assert writing.session.calls["trim"] == (1 if error else 0)


async def test_a_step_of_trimming_that_succeeds_after_one_that_failed_shows_that_the_log_can_be_written(
    writing: Writing,
) -> None:
    writing.answer("trim", OSError("gone"), [TRIMMED])

    async def failed() -> bool:
        return "gone" in writing.writer.unwritable

    async def recovered() -> bool:
        return not writing.writer.unwritable

    writing.writer.trimmer.request()
    await until(failed)
    await until(recovered)
    assert writing.session.calls["trim"] == 2


async def test_a_closed_writer_takes_nothing(writing: Writing) -> None:
    await writing.writer.end()
    with pytest.raises(LogUnavailable, match="The log is closed"):
        await writing.append()
    with pytest.raises(LogUnavailable, match="The log is closed"):
        await writing.writer.submit(writing.tail.catch_up)


async def test_an_append_whose_transaction_takes_too_long_is_refused(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, call = asyncio.Event(), writing.session._call

    async def slow(name: str, *values: object) -> Sequence[dict[str, Any]]:
        if name == "append":
            await answered.wait()
        return await call(name, *values)

    monkeypatch.setattr(writing.session, "_call", slow)
    monkeypatch.setattr(writing.writer, "_tuning", QUICK)
    with pytest.raises(LogUnavailable, match="takes too long"):
        await writing.append()
    answered.set()
