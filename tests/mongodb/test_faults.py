"""Faults of networks and replica sets; each way of recovery is tested by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from roomcast import tasks
from roomcast.log.mongodb import log as mongodb
from roomcast.log.mongodb.log import MongoLog
from roomcast.model.errors import LogUnavailable, LogUnusable, TooLarge
from roomcast.model.retention import Retention
from tests.log.steps import PATIENCE, draft, key, publish, rooms, seqs, take, until
from tests.mongodb.database import SERVERS, MongoDB, fresh_name
from tests.mongodb.proxy import Proxy, error

Open = Callable[..., Awaitable[MongoLog]]

pytestmark = pytest.mark.parametrize("mongo", SERVERS, indirect=True)


@pytest.fixture
async def proxy(mongo: MongoDB) -> AsyncIterator[Proxy]:
    async with Proxy(mongo.address) as proxy:
        yield proxy


@pytest.fixture
async def open_log(proxy: Proxy, mongo: MongoDB) -> AsyncIterator[Open]:
    """A function that opens logs on one database, through the proxy unless `direct`."""
    logs: list[MongoLog] = []
    name = fresh_name()

    async def open_one(direct: bool = False, max_messages: int = 10_000, **tuning: object) -> MongoLog:
        """`direct`: without the proxy."""
        url = mongo.url(name, "serverSelectionTimeoutMS=500", None if direct else proxy.address)
        patient = mongo.tuning._replace(**{"retry_seconds": 0.02, **tuning})  # type: ignore[arg-type]
        logs.append(await mongodb.open_log(url, "", retention=Retention(max_messages), tuning=patient))
        return logs[-1]

    yield open_one
    proxy.faults.clear()
    for log in logs:
        await log.close()


@pytest.fixture
async def log(open_log: Open) -> MongoLog:
    log = await open_log()
    await publish(log, "a")
    return log


async def everything(log: MongoLog) -> list[int]:
    return seqs((await log.read(rooms("a"), 0, 1_000)).messages)


MOVING = [
    error(10107, "NotWritablePrimary"),
    error(189, "PrimarySteppedDown"),
    error(11600, "InterruptedAtShutdown"),
    error(91, "ShutdownInProgress"),
    error(13436, "NotPrimaryOrSecondary"),
]


@pytest.mark.parametrize("answer", MOVING, ids=lambda answer: str(answer["codeName"]))
async def test_a_write_refused_by_a_stepping_down_primary_goes_to_the_next_one(
    log: MongoLog, proxy: Proxy, answer: dict[str, object]
) -> None:
    fault = proxy.inject("insert", 2, answer=answer)
    assert seqs(await publish(log, "a", "a")) == [2, 3]
    assert fault.met.is_set()
    assert await everything(log) == [1, 2, 3]


async def test_a_write_whose_connection_is_cut_before_it_is_written_once(log: MongoLog, proxy: Proxy) -> None:
    proxy.inject("insert", 2, cut=True)
    assert seqs(await publish(log, "a")) == [2]
    assert await everything(log) == [1, 2]


async def test_a_write_whose_answer_was_lost_is_found_and_not_repeated(log: MongoLog, proxy: Proxy) -> None:
    proxy.inject("insert", lose=True)
    batch, single = await asyncio.gather(log.append([draft()] * 3), log.append([draft()]))
    assert (seqs(batch.messages), seqs(single.messages)) == ([2, 3, 4], [5])
    assert await everything(log) == [1, 2, 3, 4, 5]


async def test_a_write_whose_answer_was_lost_is_found_before_later_writes_of_others(
    log: MongoLog, open_log: Open, proxy: Proxy
) -> None:
    other = await open_log(direct=True)
    proxy.inject("insert", lose=True)
    proxy.inject("find", 20, delay=0.05)
    writing = log.append([draft()])

    async def written() -> bool:
        return (await other.bounds()).newest == 2

    await until(written)
    await publish(other, "a", "a")
    assert seqs((await writing).messages) == [2]
    assert await everything(log) == [1, 2, 3, 4]


async def test_a_write_that_lost_its_number_to_another_process_takes_the_next_one(
    log: MongoLog, open_log: Open, proxy: Proxy
) -> None:
    other = await open_log(direct=True)
    slow = proxy.inject("insert", until=(taken := asyncio.Event()))
    writing = log.append([draft(), draft()])
    await asyncio.wait_for(slow.met.wait(), PATIENCE)
    assert seqs(await publish(other, "a")) == [2]
    taken.set()
    appended = await writing
    assert seqs(appended.messages) == [3, 4]
    assert appended.messages[0].prev == 2
    assert await everything(other) == [1, 2, 3, 4]


@pytest.mark.parametrize("answered", [True, False])
async def test_a_write_that_arrives_after_its_number_was_trimmed_is_taken_back_and_repeated(
    open_log: Open, proxy: Proxy, mongo: MongoDB, answered: bool
) -> None:
    other = await open_log(direct=True, max_messages=3)
    log = await open_log(max_messages=3)
    await publish(log, "a")
    await tasks.cancel(log._tasks)  # so that it only writes
    slow = proxy.inject("insert", until=(trimmed := asyncio.Event()), lose=not answered)
    writing = log.append([draft(), draft()])
    await asyncio.wait_for(slow.met.wait(), PATIENCE)
    await publish(other, *"aaaaa")
    await mongo.trim(other._store.database)
    trimmed.set()
    appended = await asyncio.wait_for(writing, PATIENCE)
    assert [(message.seq, message.prev) for message in appended.messages] == [(7, 6), (8, 7)]
    assert seqs(await publish(other, "a")) == [9]
    assert (await everything(other))[-4:] == [6, 7, 8, 9]


async def test_one_key_in_two_processes_at_one_moment_stores_one(
    log: MongoLog, open_log: Open, proxy: Proxy
) -> None:
    other = await open_log(direct=True)
    slow = proxy.inject("insert", until=(taken := asyncio.Event()))
    writing = log.append([draft()], key("k"))
    await asyncio.wait_for(slow.met.wait(), PATIENCE)
    stored = await other.append([draft()], key("k"))
    taken.set()
    assert not stored.repeated
    found = await writing
    assert found.repeated
    assert [(one.seq, one.body) for one in found.messages] == [(one.seq, one.body) for one in stored.messages]
    assert await everything(log) == [1, 2]


def unconfirmed(answer: dict[str, object]) -> dict[str, object]:
    trouble = {"code": 64, "codeName": "WriteConcernTimeout", "errmsg": "waiting for replication timed out"}
    return {**answer, "writeConcernError": trouble}


async def test_a_write_without_a_majority_is_answered_once_a_majority_has_it(log: MongoLog, proxy: Proxy) -> None:
    fault = proxy.inject("insert", change=unconfirmed)
    assert seqs(await publish(log, "a")) == [2]
    assert fault.met.is_set()
    assert await everything(log) == [1, 2]


async def test_a_write_that_is_never_confirmed_is_refused_after_a_while(open_log: Open, proxy: Proxy) -> None:
    log = await open_log(patience=0.5)
    proxy.inject("insert", 10_000, answer=error(100, "UnsatisfiableWriteConcern"))
    with pytest.raises(LogUnavailable, match="UnsatisfiableWriteConcern"):
        await log.append([draft()])
    async with asyncio.timeout(PATIENCE):
        while log._writer._group:  # noqa: ASYNC110 -- until its last attempt has failed, too
            await asyncio.sleep(0.01)
    proxy.faults.clear()
    assert seqs(await publish(log, "a")) == [1]


def dead(answer: dict[str, object]) -> dict[str, object]:
    """A cursor that the server has closed."""
    return {"cursor": {"id": 0, "ns": "x.messages", "nextBatch": []}, "ok": 1.0}


MOVED: dict[str, object] = {"answer": error(11600, "InterruptedAtShutdown")}
ENDINGS: list[dict[str, object]] = [
    {"answer": error(136, "CappedPositionLost")},
    {"answer": error(43, "CursorNotFound")},
    {"answer": error(175, "QueryPlanKilled")},
    {"answer": error(237, "CursorKilled")},
    MOVED,
    {"answer": error(1, "InternalError")},
    {"change": dead},
    {"cut": True},
    {"lose": True},
]


@pytest.mark.parametrize(
    "ending", ENDINGS, ids=lambda e: str(e.get("answer", {}).get("codeName") or next(iter(e)))
)
async def test_a_cursor_that_ends_in_any_way_loses_nothing(
    open_log: Open,
    proxy: Proxy,
    ending: dict[str, object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer, reader = await open_log(direct=True), await open_log(check_seconds=60)
    await publish(writer, "a")
    tail = reader.consumer("test", 0)
    assert seqs(await take(tail, 1)) == [1]
    fault = proxy.inject("getMore", **ending)
    await publish(writer, *["a"] * 3)
    assert seqs(await take(tail, 3)) == [2, 3, 4]
    await publish(writer, *["a"] * 3)
    assert seqs(await take(tail, 3)) == [5, 6, 7]
    await asyncio.wait_for(fault.met.wait(), PATIENCE)
    # An outage is logged only if other reads fail, too.
    assert ("the log is away" in caplog.text) <= ("cut" in ending or "lose" in ending or ending == MOVED)


async def test_messages_that_the_cursor_does_not_return_are_found_by_the_check(
    open_log: Open, proxy: Proxy
) -> None:
    writer, reader = await open_log(direct=True), await open_log()
    await publish(writer, "a")
    tail = reader.consumer("test", 0)
    await take(tail, 1)
    silent = proxy.inject("getMore", 10_000, until=asyncio.Event())
    proxy.cut()  # otherwise the request that waits now would return it
    await asyncio.wait_for(silent.met.wait(), PATIENCE)
    await publish(writer, "a", "a")
    assert seqs(await take(tail, 2)) == [2, 3]


async def test_a_cursor_that_repeats_and_skips_documents_loses_nothing(open_log: Open, proxy: Proxy) -> None:
    writer, reader = await open_log(direct=True), await open_log(check_seconds=60)
    await publish(writer, "a")
    tail = reader.consumer("test", 0)
    await take(tail, 1)

    def hole(answer: dict[str, object]) -> dict[str, object]:
        cursor: dict[str, list[object]] = answer["cursor"]  # type: ignore[assignment]
        batch = cursor.get("nextBatch", [])
        return {**answer, "cursor": {**cursor, "nextBatch": [*batch[-1:], *batch[:1]]}}

    proxy.inject("getMore", 10_000, change=hole)
    await writer.append([draft()])
    await asyncio.gather(*(writer.append([draft()]) for _ in range(20)))
    assert seqs(await take(tail, 21)) == list(range(2, 23))


async def test_an_outage_is_reported_and_ends_by_itself(log: MongoLog, proxy: Proxy) -> None:
    proxy.inject("find", 8, collection="*", cut=True)
    proxy.cut()

    async def away() -> bool:
        try:
            await log.bounds()
        except LogUnavailable as trouble:
            return "cannot be reached" in str(trouble)
        return False

    async def back() -> bool:
        return not await away()

    await until(away)
    await until(back)
    assert seqs(await publish(log, "a")) == [2]


# Caps that change


@pytest.mark.parametrize("sign", ["the time", "another cursor", "a log that shrinks"])
async def test_changed_caps_are_noticed(
    open_log: Open, proxy: Proxy, sign: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = await open_log(check_seconds=0.05, caps_seconds=0.05 if sign == "the time" else 3_600)
    caps = log._tail._caps
    await publish(log, *"aaa")

    async def looked() -> bool:
        return caps._retained == 3 and caps._read_at > 0

    await until(looked)
    assert log.retention == Retention(10_000, 5_000_000)
    proxy.inject("listCollections", 10_000, collection="*", change=with_caps(size=512_000, max=2))
    if sign == "another cursor":
        proxy.inject("getMore", change=dead)
        await publish(log, "a")
    elif sign == "a log that shrinks":
        await log._store.messages.delete_many({"_id": {"$lte": 2}})

    async def seen() -> bool:
        return log.retention == Retention(2, 512_000)

    await until(seen)
    assert "the collection's own cap is in force: max_messages 2, not --max-messages 10000" in caplog.text
    with pytest.raises(TooLarge, match="the log retains 2"):
        await log.append([draft()] * 3)


async def test_caps_are_not_read_with_each_check(open_log: Open, proxy: Proxy) -> None:
    log = await open_log(check_seconds=0.01)
    await publish(log, "a")

    async def looked() -> bool:
        return proxy.commands["find", "roomcast"] > 6

    await until(looked)
    # Twice when the collection is created, and once for each of the first cursors.
    assert proxy.commands["listCollections", "1"] <= 4


def with_caps(**caps: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Changes an answer to that of a server after `collMod`, which neither server of the tests supports fully."""

    def change(answer: dict[str, Any]) -> dict[str, Any]:
        for found in answer["cursor"]["firstBatch"]:
            found["options"] |= caps
        return answer

    return change


# Databases that cannot be opened


async def test_a_publish_while_the_database_was_away_since_the_start_is_refused_and_later_stored(
    open_log: Open, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    away = proxy.inject("listCollections", 10_000, collection="*", cut=True)
    log = await open_log(patience=0.5)
    assert not log.epoch
    with pytest.raises(LogUnavailable, match="cannot be reached"):
        await log.append([draft()], key("k"))
    assert not [record for record in caplog.records if record.exc_info]
    away.times = 0

    async def back() -> bool:
        return bool(log.epoch)

    await until(back)
    assert seqs(await publish(log, "a")) == [1]


@pytest.mark.parametrize(
    "answer", [error(115, "CommandNotSupported"), error(238, "NotImplemented")], ids=lambda a: str(a["codeName"])
)
async def test_a_server_without_capped_collections_is_refused_in_a_sentence(
    open_log: Open, proxy: Proxy, answer: dict[str, object]
) -> None:
    proxy.inject("create", answer=answer)
    with pytest.raises(LogUnusable, match=r"keeps no capped collections .*: use MongoDB itself"):
        await open_log()


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("create", error(13, "Unauthorized"), "may not write .* role readWrite"),
        ("createIndexes", error(13, "Unauthorized"), "may not write"),
        ("create", error(10107, "NotWritablePrimary"), "is no primary: name all members"),
        ("findAndModify", error(13, "Unauthorized"), "may not write"),
        ("findAndModify", error(10107, "NotWritablePrimary"), "is no primary"),
        ("listCollections", error(18, "AuthenticationFailed"), "refuses the user or the password"),
    ],
)
async def test_a_database_that_may_not_be_written_is_refused_in_a_sentence(
    open_log: Open, proxy: Proxy, name: str, answer: dict[str, object], says: str
) -> None:
    proxy.inject(name, 100, collection="*", answer=answer)
    with pytest.raises(LogUnusable, match=says) as refused:
        await open_log()
    assert str(refused.value).count(". ") == 0


async def test_a_server_that_is_too_old_is_refused_in_a_sentence(open_log: Open, proxy: Proxy) -> None:
    for name in ("hello", "ismaster", "isMaster"):
        proxy.inject(name, 1_000, collection="*", change=lambda answer: {**answer, "maxWireVersion": 6})
    with pytest.raises(LogUnusable, match="too old a MongoDB server: use version"):
        await open_log()
