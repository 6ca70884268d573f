"""Calls of the log when the database is away or another one. No database."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest
from asyncpg import exceptions as pg

from roomcast.log.postgresql import log as postgresql_log
from roomcast.log.postgresql.log import PostgresLog
from roomcast.log.postgresql.notifier import Notifier
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.retention import Retention
from tests.log.steps import until
from tests.postgresql.fakes import QUICK, SERVER, Answer, FakeSession

URL = "postgresql://db/chat"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Answer]]:
    """The answers of the database. A test may change them."""
    shared: dict[str, list[Answer]] = dict(FakeSession().answers)

    def session(url: str, **options: object) -> FakeSession:
        made = FakeSession()
        made.answers = shared
        return made

    monkeypatch.setattr(postgresql_log, "Session", session)
    return shared


async def open_log(**options: Any) -> PostgresLog:
    return await postgresql_log.open_log(URL, "//db/chat", retention=Retention(), tuning=QUICK, **options)


@pytest.fixture
async def log(answers: dict[str, list[Answer]]) -> AsyncIterator[PostgresLog]:
    one = await open_log()
    yield one
    await one.close()


Unhandled = Callable[[], Awaitable[list[str]]]


@pytest.fixture
async def unhandled() -> Unhandled:
    """A function that returns the errors of tasks that nobody has retrieved."""
    found: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context["message"]))

    async def collected() -> list[str]:
        for _ in range(5):  # turns of the loop, in which the callbacks of ended tasks run
            await asyncio.sleep(0)
        gc.collect()
        return found

    return collected


AWAY = [
    ([{**SERVER, "standby": True}], "The database is a standby"),
    (pg.CannotConnectNowError("starting"), "The database cannot be reached .starting."),
]


@pytest.mark.parametrize(("answer", "says"), AWAY, ids=["a standby", "a database that starts"])
async def test_a_log_opens_while_its_database_is_away_and_goes_on_by_itself(
    answers: dict[str, list[Answer]], answer: Answer, says: str
) -> None:
    answers["identify"] = [answer]
    log = await open_log()
    assert log.epoch == ""
    with pytest.raises(LogUnavailable, match=says):
        await log.bounds()
    answers["identify"] = [[SERVER]]

    async def reached() -> bool:
        return log.epoch == "e"

    await until(reached)
    assert log.unwritable == ""
    await log.close()


@pytest.mark.parametrize(("answer", "says"), AWAY, ids=["a standby", "a database that starts"])
async def test_a_requested_new_epoch_is_not_put_off_until_the_database_is_back(
    answers: dict[str, list[Answer]], answer: Answer, says: str
) -> None:
    answers["identify"] = [answer]
    with pytest.raises(LogUnusable, match=f"^{URL} cannot be opened: ({says}|starting)"):
        await open_log(new_epoch=True)


async def test_a_read_that_fails_is_an_outage_for_its_caller(
    log: PostgresLog, answers: dict[str, list[Answer]]
) -> None:
    answers["get"] = [asyncpg.InterfaceError("gone")]
    with pytest.raises(LogUnavailable, match=r"unexpected answer \(gone\)"):
        await log.get(1)


@pytest.mark.parametrize("fails", [True, False])
async def test_a_read_goes_on_if_its_caller_is_cancelled(
    log: PostgresLog, monkeypatch: pytest.MonkeyPatch, unhandled: Unhandled, fails: bool
) -> None:
    asked, answer, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def call(name: str, *values: object) -> Sequence[dict[str, Any]]:
        asked.set()
        await answer.wait()
        ended.set()
        if fails:
            raise OSError("gone")
        return [{"epoch": "e", "seqs": None}]

    monkeypatch.setattr(log._reading, "_call", call)
    reading = asyncio.create_task(log.get(1))
    await asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    answer.set()
    await asyncio.wait_for(ended.wait(), 10)
    assert await unhandled() == []


async def test_a_notification_that_fails_is_not_repeated_and_none_is_sent_to_nobody(unhandled: Unhandled) -> None:
    session = FakeSession(tell_others=[OSError("gone"), []])
    notifier = Notifier(session, lambda: "1")
    for needed, sent in ((True, 1), (True, 2), (False, 2)):
        notifier.needed = needed
        notifier.notify()
        await notifier.finish()
        assert session.calls["tell_others"] == sent
    assert await unhandled() == []


async def test_notifications_requested_during_one_are_merged_into_one_with_the_newest_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, newest, sent = FakeSession(), 1, list[object]()
    sending, answer = asyncio.Event(), asyncio.Event()

    async def call(name: str, *values: object) -> Sequence[dict[str, Any]]:
        sent.append(*values)
        sending.set()
        await answer.wait()
        return []

    monkeypatch.setattr(session, "_call", call)
    notifier = Notifier(session, lambda: str(newest))
    notifier.notify()
    first = notifier._sending
    await sending.wait()
    newest = 2
    notifier.notify()
    newest = 3
    notifier.notify()
    assert notifier._sending is first, "one task sends all of them"
    answer.set()
    await notifier.finish()
    assert sent == ["1", "3"]
