"""The log while its database is away or fails, and the operations that it never offers. No database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
from pymongo.errors import AutoReconnect, ExecutionTimeout, OperationFailure

from roomcast import tasks
from roomcast.log.consumers import Consumers
from roomcast.log.mongodb.log import MongoLog
from roomcast.log.mongodb.opening import MongoTuning, Store
from roomcast.log.mongodb.range_reader import RangeReader
from roomcast.log.mongodb.rooms import KnownRooms
from roomcast.log.mongodb.view import View
from roomcast.log.outage import HISTORY_CHANGED, NOT_REACHED, HistoryChanged
from roomcast.log.register import Register
from roomcast.log.trimming import watermark
from roomcast.model.errors import LogUnavailable, LogUnusable, NotOffered
from roomcast.model.retention import Retention, RoomRule
from tests.log.steps import until

QUICK = MongoTuning(retry_seconds=0.01, patience=60)


def empty_view() -> View:
    consumers = Consumers(0, 0, fetch=None, delivered=lambda: None)  # type: ignore[arg-type]
    return View(consumers, KnownRooms([], watermark(0, 0), 0, Register(0, 10)), {}, 0)


@pytest.fixture
async def log() -> AsyncIterator[MongoLog]:
    """A log that never reaches its database."""
    one = MongoLog(Store("mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=1"), Retention(), 10, QUICK)
    yield one
    await one.close()


async def test_a_log_that_was_never_reached_has_no_view(log: MongoLog) -> None:
    assert (log.epoch, log.unwritable, log._tail.newest) == ("", "", 0)
    with pytest.raises(LogUnavailable, match=NOT_REACHED):
        await log.rooms("", "name", None, 10)


@pytest.mark.parametrize(
    ("error", "says", "is_away"),
    [
        (AutoReconnect("gone"), "cannot be reached", True),
        (OperationFailure("odd", 1), "does not answer as it should", False),
        (HistoryChanged(), HISTORY_CHANGED, True),
    ],
)
async def test_a_read_that_fails_says_why_and_may_begin_an_outage(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str, is_away: bool
) -> None:
    async def fail(seq: int) -> NoReturn:
        raise error

    monkeypatch.setattr(log._reader, "get", fail)
    with pytest.raises(LogUnavailable, match=says):
        await log.get(1)
    assert bool(log._tail._outage) == is_away


async def test_a_requested_new_epoch_is_not_put_off_until_the_database_is_back(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(error: Exception) -> None:
        return None

    monkeypatch.setattr(log._store, "diagnose", nothing)
    with pytest.raises(LogUnusable, match="cannot be opened: The database cannot be reached"):
        await log.begin(new_epoch=True)


async def test_a_capped_collection_has_no_rules_and_deletes_nothing(log: MongoLog) -> None:
    with pytest.raises(NotOffered, match="deletes nothing but its oldest messages"):
        await log.delete(1)
    with pytest.raises(NotOffered, match="deletes nothing but its oldest messages"):
        await log.delete_room("a")
    for retention in (Retention(max_age=1), Retention(rooms=(RoomRule("a", 1),))):
        with pytest.raises(NotOffered, match="is trimmed by its collection"):
            log.prepare_rules(retention)
    log.prepare_rules(Retention(1))()


async def test_a_log_that_is_longer_than_one_read_is_read_in_parts(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = [False, False, True]

    async def read(self: RangeReader, view: View) -> bool:
        return ends.pop(0)

    monkeypatch.setattr(RangeReader, "read", read)
    log._tail._view = empty_view()
    await log._tail.catch_up()
    assert ends == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ExecutionTimeout("slow", 50), "The database cannot be reached (slow); everything goes on when it can."),
        (LookupError("a defect"), "Following the log failed: see the server's log."),
    ],
    ids=["an outage", "a defect"],
)
async def test_a_cursor_that_fails_for_another_reason_than_its_end_is_an_outage(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    tail = log._tail

    async def fail() -> NoReturn:
        raise error

    async def nothing() -> None: ...

    monkeypatch.setattr(tail, "_follow_cursor", fail)
    monkeypatch.setattr(tail, "catch_up", nothing)
    tail._view = empty_view()
    running = asyncio.create_task(tail.run())

    async def noted() -> bool:
        return tail._outage.why == why

    await until(noted)
    await tasks.cancel([running])
