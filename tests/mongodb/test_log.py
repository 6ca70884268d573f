"""Tests for MongoDB alone: its documents, its collection, and other histories."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

import pytest
from bson import DatetimeMS, Int64, ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import AutoReconnect

from roomcast import tasks
from roomcast.log import clock
from roomcast.log import open_log as open_any
from roomcast.log.base import LogConsumer
from roomcast.log.consumers import Consumers
from roomcast.log.mongodb import log as mongodb
from roomcast.log.mongodb import state as mongodb_state
from roomcast.log.mongodb.chain import out_of_place
from roomcast.log.mongodb.documents import BATCH, AppendDocument, key_of
from roomcast.log.mongodb.log import MongoLog
from roomcast.log.mongodb.opening import Store
from roomcast.log.mongodb.rooms import KnownRooms
from roomcast.log.mongodb.view import NewestSeen, View
from roomcast.log.outage import HistoryChanged
from roomcast.log.register import Register
from roomcast.log.trimming import watermark
from roomcast.model.draft import MAX_BATCH
from roomcast.model.errors import LogRestarted, LogUnavailable, LogUnusable, TooLarge
from roomcast.model.message import Message
from roomcast.model.redact import redacted_url
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from tests.log.steps import PATIENCE, draft, key, next_batch, publish, rooms, seqs, take, told, trimmed, until
from tests.mongodb.database import MongoDB

Open = Callable[..., Awaitable[MongoLog]]
Database = AsyncDatabase[dict[str, Any]]

NOTHING = watermark(0, 0)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """The database as a person sees it in the shell."""
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        yield client.get_default_database()


@pytest.fixture
async def open_log(url: str, mongo: MongoDB) -> AsyncIterator[Open]:
    logs: list[MongoLog] = []

    async def open_one(max_messages: int = 10_000, max_bytes: int = 5_000_000, **options: Any) -> MongoLog:
        tuning = mongo.tuning._replace(**options.pop("tuning", {}))
        retention = Retention(max_messages, max_bytes)
        logs.append(await mongodb.open_log(url, "", retention=retention, tuning=tuning, **options))
        return logs[-1]

    yield open_one
    for log in logs:
        await log.close()


def body(text: str, **more: object) -> bytes:
    fields = {"room": "developers", "user": "anonymous", "text": text, **more}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


async def test_a_revocation_in_one_process_counts_in_all(open_log: Open) -> None:
    one, other = await open_log(), await open_log()
    before = await other.revocations()
    row = Revocation("42", "https://a", clock.clock() // 1_000_000)
    await one.revoke(row)
    assert await other.revocations() == (row,) != before
    assert await (await open_log()).revocations() == (row,)


async def test_a_person_can_read_a_message_in_the_shell(open_log: Open, database: Database) -> None:
    log = await open_log()
    await log.append([draft("developers", body("hällo", type="note", data={"a.b": 1.0}), "note")])
    [found] = await database.messages.find().to_list()
    readable = {name: found[name] for name in ("_id", "room", "user", "text", "type", "data")}
    assert readable == {
        "_id": 1,
        "room": "developers",
        "user": "anonymous",
        "text": "hällo",
        "type": "note",
        "data": '{"a.b":1.0}',
    }
    assert found["timestamp"].year >= 2026
    assert "body" not in found
    stored = await log.get(1)
    assert stored
    assert stored.body == body("hällo", type="note", data={"a.b": 1.0})


STRANGE = [
    b"{}",
    b"",
    b"\xff",
    b"[1]",
    b'{"room":"a"}',
    b'{"room":"developers","text":"\xe2\x80\xa8"}',
    b'{"room" :"developers"}',
]


async def test_a_body_that_its_fields_would_change_is_stored_unchanged(open_log: Open) -> None:
    log = await open_log()
    bodies = [*STRANGE, body("\x00"), body("a", data="x" * 1_000), b'{"room":"developers","text":"\\u2028"}']
    await log.append([draft("developers", one) for one in bodies])
    page = await log.read(rooms("developers"), 0, 100)
    assert [message.body for message in page.messages] == bodies


async def test_it_closes_though_the_driver_loses_a_cancel(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = asyncio.Event()

    async def lose(store: Store) -> NoReturn:
        monkeypatch.undo()  # the driver loses a cancel only now and then
        looking.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3_600)
        raise AutoReconnect("the cancel was lost")

    log = await open_log()
    monkeypatch.setattr(mongodb_state, "read", lose)
    async with asyncio.timeout(PATIENCE):
        await looking.wait()
        await log.close()


async def test_a_batch_is_one_document(open_log: Open, database: Database) -> None:
    log = await open_log()
    await log.append([draft("a", b"1"), draft("b", b"2"), draft("a", b"3")])
    [found] = await database.messages.find().to_list()
    assert (found["_id"], found["room"], found["roomcast"]["last"]) == (1, ["a", "b", "a"], 3)
    assert seqs((await log.read(rooms("a"), 1, 10)).messages) == [3]
    assert seqs((await log.read(rooms("a", "b"), 0, 2)).messages) == [1, 2]
    assert await log.seek_newest(rooms("a"), 1, before=3) == 0
    stored = await log.get(2)
    assert stored
    assert (stored.room, stored.body) == ("b", b"2")


async def test_the_longest_batch_is_taken_and_a_longer_one_refused(open_log: Open) -> None:
    assert BATCH == MAX_BATCH
    log = await open_log()
    await log.append([draft()])
    assert len((await log.append([draft()] * BATCH)).messages) == BATCH
    with pytest.raises(TooLarge, match="a batch has at most 1000"):
        await log.append([draft()] * (BATCH + 1))
    assert seqs((await log.read(rooms("a"), BATCH, 10)).messages) == [BATCH + 1]


async def test_a_batch_that_does_not_fit_into_a_document_is_refused(open_log: Open) -> None:
    log = await open_log(max_bytes=10**9)
    with pytest.raises(TooLarge, match="16 MiB"):
        await log.append([draft(body=b"x" * 1_000_000)] * 16)


async def test_the_collection_is_created_capped_and_found_again(open_log: Open, database: Database) -> None:
    log = await open_log(max_messages=500, max_bytes=256_000)
    await publish(log, "a", "b")
    options = await database.messages.options()
    assert (options["capped"], options["max"], options["size"]) == (True, 500, 256_000)
    again = await open_log(max_messages=500, max_bytes=256_000)
    assert again.epoch == log.epoch
    assert seqs(await publish(again, "a")) == [3]


async def test_the_collections_caps_win_and_a_difference_is_a_warning(
    open_log: Open, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await database.create_collection("messages", capped=True, size=256_000, max=50)
    log = await open_log(max_messages=50, max_bytes=255_900)
    assert not caplog.messages
    log = await open_log(max_messages=100, max_bytes=5_000_000)
    assert log.retention == Retention(50, 256_000)
    assert [message for message in caplog.messages if "own cap" in message] == [
        f"the collection's own cap is in force: {caps}. Change one of the two (collMod)"
        for caps in ("max_messages 50, not --max-messages 100", "max_bytes 256000, not --max-bytes 5000000")
    ]


async def test_a_collection_that_is_not_capped_is_refused_with_the_command_to_convert_it(
    open_log: Open, database: Database
) -> None:
    await database.create_collection("messages")
    with pytest.raises(LogUnusable, match=r'db.runCommand\(\{convertToCapped: "messages", size: 5000000\}\)'):
        await open_log()


async def test_the_originals_messages_are_left_alone_and_counted_in_one_warning(
    open_log: Open, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await database.create_collection("messages", capped=True, size=5_000_000, max=10_000)
    original = {"text": "old", "user": "a", "room": "a", "timestamp": DatetimeMS(1), "_class": "example.Message"}
    await database.messages.insert_many([{"_id": ObjectId(), **original} for _ in range(3)])
    log = await open_log()
    tail = log.consumer("test", 0)
    assert seqs(await publish(log, "a")) == [1]
    await database.messages.insert_one({"_id": ObjectId(), **original})
    other = await open_log()
    assert seqs(await publish(other, "a")) == [2]
    assert seqs(await take(tail, 2)) == [1, 2]
    assert seqs((await log.read(rooms("a"), 0, 10)).messages) == [1, 2]
    assert [stats.messages for stats in await log.rooms("", "name", None, 10)] == [2]
    assert await database.messages.count_documents({"_class": {"$exists": True}}) == 4
    warnings = [message for message in caplog.messages if "not roomcast's" in message]
    assert warnings == [
        f"messages holds {count} documents that are not roomcast's: they are sent to nobody. Keep them elsewhere"
        for count in (3, 4)
    ]


async def test_a_foreign_document_under_a_number_is_named(open_log: Open, database: Database) -> None:
    await database.create_collection("messages", capped=True, size=5_000_000, max=10_000)
    await database.messages.insert_one({"_id": Int64(7), "text": "mine"})
    with pytest.raises(LogUnusable, match="holds a document with the number 7 as _id that is not roomcast's"):
        await open_log()


async def test_a_foreign_document_beyond_all_numbers_is_no_outage(
    open_log: Open, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    log = await open_log()
    tail = log.consumer("test", 0)
    assert seqs(await publish(log, "a")) == [1]
    await database.messages.insert_one({"_id": 1e300, "text": "mine"})
    assert seqs(await publish(await open_log(), "a")) == [2]
    assert seqs(await take(tail, 2)) == [1, 2]
    assert not any("is away" in message for message in caplog.messages)


async def test_a_new_epoch_continues_with_the_next_number(open_log: Open, database: Database) -> None:
    log = await open_log()
    await publish(log, "a", "b")
    tail = log.consumer("test", 0)
    await take(tail, 2)
    await saved(database, 2)
    other = await open_log(new_epoch=True)
    assert other.epoch != log.epoch
    assert seqs(await publish(other, "a")) == [3]
    await restarted(log, tail)  # the first log has noticed, too
    assert log.epoch == other.epoch
    assert (await log.read(rooms("a"), 0, 10)).messages[-1].prev == 1


async def test_times_begin_anew_under_a_requested_new_epoch(
    open_log: Open, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log()
    monkeypatch.setattr(clock, "clock", lambda: 9_000_000_000_000)
    await publish(log, "a", "a")
    monkeypatch.setattr(clock, "clock", lambda: 1_000_000_000)
    assert (await publish(log, "a"))[0].stored_at == 9_000_000
    tail = log.consumer("test", 0)
    await take(tail, 3)
    await saved(database, 3)
    other = await open_log(new_epoch=True)
    await restarted(log, tail)
    assert [(await publish(one, "a"))[0].stored_at for one in (log, other)] == [1_000, 1_000]
    assert await other.seek_time(rooms("a"), 1_001) == 5
    late = await open_log()
    monkeypatch.setattr(clock, "clock", lambda: 500_000_000)
    assert (await publish(late, "a"))[0].stored_at == 1_000


async def test_a_process_under_an_old_epoch_counts_no_rooms_under_the_new_one(open_log: Open, url: str) -> None:
    log = await open_log(tuning={"check_seconds": 3_600})
    await publish(log, "a", "a")
    store = Store(url)
    begun = await mongodb_state.begin_epoch(store, log.epoch, 1, 0)
    await mongodb_state.save(store, log.epoch, known_rooms(), 2)
    assert (await mongodb_state.read(store)).counted == 1
    await mongodb_state.save(store, begun.epoch, known_rooms(), 2)
    assert (await mongodb_state.read(store)).counted == 2
    await store.client.close()


def known_rooms() -> KnownRooms:
    return KnownRooms([], NOTHING, 10, Register(0, 10))


async def saved(database: Database, seq: int) -> None:
    """Waits until the rooms up to `seq` are saved. FerretDB updates no document atomically: a save that meets the
    beginning of an epoch would bring back the old epoch."""

    async def is_counted() -> bool:
        found = await database.roomcast.find_one({"_id": "log"})
        return found is not None and bool(found["counted"] >= seq)

    await until(is_counted)


async def restarted(log: MongoLog, tail: LogConsumer) -> None:
    """Waits until the consumer ends because the log has another history, and the log can be read again."""
    with pytest.raises(LogRestarted):
        await drained(tail)

    async def readable() -> bool:
        try:
            return bool(await log.bounds())
        except LogUnavailable:
            return False

    await until(readable)


async def drained(tail: LogConsumer) -> NoReturn:
    """Reads until the consumer ends with an error."""
    while True:
        await next_batch(tail)


async def rewrite(database: Database, *documents: dict[str, Any]) -> None:
    """Replaces the end of the history, as a rollback or a restored copy does."""
    await database.messages.delete_many({"_id": {"$gte": documents[0]["_id"]}})
    await database.messages.insert_many(documents)


async def test_a_rollback_of_delivered_messages_begins_a_new_epoch(open_log: Open, database: Database) -> None:
    log = await open_log()
    before = log.epoch
    await publish(log, *"aaaa")
    tail = log.consumer("test", 0)
    await take(tail, 4)
    found = await database.messages.find({"_id": {"$gte": 3}}).sort("_id", 1).to_list()
    for document in found:
        document["roomcast"]["nonce"] = Int64(document["roomcast"]["nonce"] + 1)
    found[1]["roomcast"]["after"] = found[0]["roomcast"]["nonce"]
    await rewrite(database, *found)
    await restarted(log, tail)
    assert log.epoch != before
    assert seqs(await publish(log, "a")) == [5]
    assert seqs((await log.read(rooms("a"), 0, 100)).messages) == [1, 2, 3, 4, 5]


async def test_the_loss_of_delivered_messages_begins_a_new_epoch(open_log: Open, database: Database) -> None:
    log = await open_log(tuning={"stale_seconds": 0.5})
    before = log.epoch
    await publish(log, *"aaaa")
    tail = log.consumer("test", 0)
    await take(tail, 4)
    await database.messages.delete_many({"_id": {"$gte": 3}})
    await restarted(log, tail)
    assert log.epoch != before
    assert [(m.seq, m.prev) for m in await publish(log, "a")] == [(3, 2)]


async def test_a_log_that_lost_its_end_while_it_was_closed_begins_a_new_epoch(
    open_log: Open, database: Database
) -> None:
    log = await open_log()
    await publish(log, *"aaaa")
    await until_counted(database, 4)
    await log.close()
    await database.messages.delete_many({"_id": {"$gte": 3}})
    again = await open_log()
    assert again.epoch != log.epoch
    assert [(m.seq, m.prev) for m in await publish(again, "a")] == [(3, 2)]


async def test_a_new_epoch_begins_although_a_message_in_the_middle_was_deleted(
    open_log: Open, database: Database
) -> None:
    log = await open_log()
    await publish(log, *"abab")
    await log.close()
    await database.messages.delete_one({"_id": 2})
    again = await open_log(new_epoch=True)
    assert again.epoch != log.epoch
    assert seqs((await again.read(rooms("a", "b"), 0, 100)).messages) == [1, 3, 4]
    assert [(m.seq, m.prev) for m in await publish(again, *"ab")] == [(5, 3), (6, 4)]
    other = await open_log()
    assert other.epoch == again.epoch
    assert seqs(await publish(other, "a")) == [7]


async def test_a_changed_history_that_also_lacks_a_message_in_the_middle_begins_one_new_epoch(
    open_log: Open, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    log = await open_log(tuning={"stale_seconds": 0.5})
    await publish(log, *"abaa")
    tail = log.consumer("test", 0)
    await take(tail, 4)
    await database.messages.delete_many({"_id": {"$in": [2, 4]}})
    await restarted(log, tail)
    assert seqs((await log.read(rooms("a"), 0, 100)).messages) == [1, 3]
    assert [(m.seq, m.prev) for m in await publish(log, "a")] == [(4, 3)]
    assert sum("under the new epoch" in message for message in caplog.messages) == 1


async def until_counted(database: Database, seq: int) -> None:
    """Waits until the rooms of all messages up to `seq` are saved."""

    async def counted() -> bool:
        found = await database.roomcast.find_one({"_id": "log"})
        return bool(found and found["counted"] == seq)

    await until(counted)


def test_a_document_that_follows_an_unknown_one_is_another_history() -> None:
    consumers = Consumers(0, 0, fetch=None, delivered=lambda: None)  # type: ignore[arg-type]
    view = View(consumers, KnownRooms([], NOTHING, 0, Register(0, 10)), {}, 0)
    assert view.absorb(entry(1, nonce=11, after=0))
    assert view.absorb(entry(2, nonce=12, after=11))
    assert view.absorb(entry(2, nonce=12, after=11))
    assert not view.absorb(entry(4, nonce=14, after=13))
    with pytest.raises(HistoryChanged):
        view.absorb(entry(2, nonce=22, after=11))
    with pytest.raises(HistoryChanged):
        view.absorb(entry(3, nonce=13, after=22))
    assert view.newest == 2


def entry(seq: int, nonce: int, after: int) -> AppendDocument:
    return AppendDocument([Message(seq, "a", None, 1, 0, b"")], [NOTHING], nonce, after, 0, 0)


async def test_a_process_that_was_away_for_longer_than_the_retention_tells_a_gap(
    open_log: Open, database: Database, mongo: MongoDB
) -> None:
    writer = await open_log(max_messages=3)
    await publish(writer, "a", "b")
    late = await open_log(max_messages=3)
    tail = late.consumer("test", 0)
    await take(tail, 2)
    await tasks.cancel(late._tasks)  # so that it receives nothing from now on
    await publish(writer, *"bbbbb")
    await mongo.trim(database)
    await trimmed(writer, 4)
    page = await late.read(rooms("a", "b"), 2, 100)
    assert seqs(page.messages) == [5, 6, 7]
    assert {loss.room for loss in page.losses} >= {"b"}
    assert seqs((await next_batch(tail)).messages)[:1] == [5]


async def test_a_process_that_was_away_for_longer_than_the_retention_reuses_no_number(
    open_log: Open, database: Database, mongo: MongoDB
) -> None:
    writer = await open_log(max_messages=3)
    await publish(writer, "a", "b")
    late = await open_log(max_messages=3)
    await tasks.cancel(late._tasks)
    await publish(writer, *"bbbbb")
    await mongo.trim(database)
    assert [(m.seq, m.prev) for m in await publish(late, "b", "b")] == [(8, 7), (9, 8)]
    assert seqs(await publish(writer, "b")) == [10]


def test_a_write_is_out_of_place_if_its_number_was_used_before() -> None:
    two, three, four = entry(2, nonce=12, after=11), entry(3, nonce=13, after=12), entry(4, nonce=14, after=13)
    before = NewestSeen(2, 2, 12)
    for found in ([two, three, four], [three, four], [three], [four, entry(5, nonce=15, after=14)], []):
        assert not out_of_place(before, [three, four], found)
    assert not out_of_place(NewestSeen(), [three], [three, four])
    assert not out_of_place(before, [three], [three, entry(4, nonce=14, after=0)])
    for other in (entry(4, nonce=24, after=23), entry(6, nonce=16, after=15)):
        assert out_of_place(before, [three], [three, other])
        assert out_of_place(NewestSeen(), [three], [three, other])


async def test_empty_rooms_are_remembered_across_a_restart(
    open_log: Open, database: Database, mongo: MongoDB
) -> None:
    log = await open_log(max_messages=2)
    await publish(log, *"aabb")
    await mongo.trim(database)
    await trimmed(log, 2)

    await until_counted(database, 4)
    assert await database.roomcast.count_documents({"room": "a", "newest": 2, "count": 2}) == 1
    await log.close()
    again = await open_log(max_messages=2)
    assert told(await again.read(rooms("a", "never"), 0, 10), 0) == {"a": 2}
    assert (await again.read(rooms("a", "never"), 2, 10)).losses == []
    assert (await publish(again, "a"))[0].prev == 2


async def test_rooms_that_were_not_saved_may_alarm_falsely_but_are_never_silent(
    open_log: Open, database: Database, mongo: MongoDB
) -> None:
    log = await open_log(max_messages=2, tuning={"check_seconds": 3_600})
    await publish(log, *"aabb")
    await log.close()
    await mongo.trim(database)
    again = await open_log(max_messages=2)
    assert told(await again.read(rooms("a"), 0, 10), 0) == {"a": 2}
    assert (await publish(again, "a"))[0].prev == 2


async def test_a_key_goes_with_its_document(open_log: Open, database: Database, mongo: MongoDB) -> None:
    log = await open_log(max_messages=3)
    await log.append([draft(), draft()], key("k"))
    await publish(log, "a", "a")
    assert (await log.append([draft(), draft()], key("k"))).repeated
    await publish(log, "a")
    await mongo.trim(database)
    await trimmed(log, 2)
    fresh = await log.append([draft()], key("k", b"another"))
    assert (seqs(fresh.messages), fresh.repeated) == ([6], False)


def test_no_two_pairs_of_scope_and_key_are_confused() -> None:
    assert len({key_of(scope, name) for scope, name in [("", "1:k"), ("k", ""), ("", "k"), ("1:", "k")]}) == 4


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mongodb://", "is no connection string"),
        ("mongodb://127.0.0.1:1", "names no database"),
        ("mongodb://127.0.0.1:99999/x", "is no connection string .*[Pp]ort"),
        ("mongodb://127.0.0.1:1/x?tlz=true", "is no connection string .*Unknown option"),
        ("mongodb://127.0.0.1:1/x?w=0", "w=0 confirms nothing"),
        (
            "mongodb://127.0.0.1:1/x?readPreference=often",
            "is no connection string|cannot be used as it is written",
        ),
        ("mongodb:// /x", "there is a space in it"),
        ("mongodb://127.0.0.1:1/a.b", "names no database"),
        ("mongodb://127.0.0.1:1/x?tls=true&tlsCAFile=/no/such/file", "tlscafile file is not readable"),
        (f"mongodb://127.0.0.1:1/x?tls=true&tlsCAFile={__file__}", "no certificate"),
    ],
)
async def test_a_bad_connection_string_is_refused_in_a_sentence(url: str, says: str) -> None:
    with pytest.raises(LogUnusable, match=says) as refused:
        await open_any(url, retention=Retention())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("maxPoolSize=1", "maxPoolSize=1 is not enough, .* use 2 or more"),
        ("timeoutMS=1999", "timeoutMS=1999 cuts off the wait for news, .* use 2000 or more"),
        ("socketTimeoutMS=500", "socketTimeoutMS=500 cuts off the wait for news, .* use 2000 or more"),
        ("maxPoolSize=0&timeoutMS=0&socketTimeoutMS=0", ""),
        ("maxPoolSize=2&timeoutMS=2000&socketTimeoutMS=2000", ""),
    ],
)
@pytest.mark.parametrize("kind", ["mongodb", "mongodb+srv"])
def test_limits_that_would_cut_off_the_wait_for_news_are_refused(kind: str, options: str, says: str) -> None:
    url = f"{kind}://somewhere.example.org/x?{options}"
    if not says:
        Store(url)
        return
    with pytest.raises(LogUnusable, match=says):
        Store(url)


async def test_a_log_with_two_connections_and_short_limits_works(mongo: MongoDB) -> None:
    least = 2 * mongo.tuning.await_ms
    url = mongo.url(options=f"maxPoolSize=2&timeoutMS={least}&socketTimeoutMS={least}")
    log = await mongodb.open_log(url, "", retention=Retention(), tuning=mongo.tuning)
    try:
        tail = log.consumer("test", 0)
        await asyncio.gather(*(log.append([draft()]) for _ in range(20)))
        assert seqs(await take(tail, 20)) == list(range(1, 21))
    finally:
        await log.close()


async def test_a_publish_while_an_empty_log_is_read_is_no_loss(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log(max_messages=10**6, max_bytes=10**9)  # otherwise the publish would read first
    await tasks.cancel(log._tasks)
    read = log._reader.range

    async def and_publish(seq: int) -> tuple[list[AppendDocument], bool]:
        found = await read(seq)
        assert found == ([], True)
        await publish(log, "a")
        return found

    monkeypatch.setattr(log._reader, "range", and_publish)
    await log._tail.catch_up()
    assert log._tail.newest == 1


async def test_a_newest_document_that_is_trimmed_during_the_read_is_no_other_history(
    open_log: Open, database: Database, mongo: MongoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await open_log(max_messages=1)
    await publish(log, "a")
    await tasks.cancel(log._tasks)
    await publish(await open_log(max_messages=1), "a")
    await mongo.trim(database)
    read, view = log._reader.oldest, log._tail.view

    async def and_see() -> object:
        monkeypatch.undo()
        found = await read()
        [entry], _ = await log._reader.range(2)
        assert view.absorb(entry)  # as if the cursor had returned it
        return found

    monkeypatch.setattr(log._reader, "oldest", and_see)
    await log._tail.catch_up()
    assert view.newest == 2


async def test_a_wrong_password_is_refused_in_a_sentence_that_does_not_repeat_it(ferretdb: MongoDB) -> None:
    url = ferretdb.server.replace("://", "://somebody:hunter2@") + "/x"
    with pytest.raises(LogUnusable, match="refuses the user or the password") as refused:
        await open_any(url, retention=Retention())
    assert "hunter2" not in str(refused.value)
    assert redacted_url(url) == ferretdb.server.replace("://", "://somebody@") + "/x"


@pytest.mark.parametrize(
    "url",
    [
        "mongo://somebody:hunter2@localhost/x",
        "mongodb:somebody:hunter2@localhost/x",
        "mongodb:/somebody:hunter2@localhost/x",
        "mongodb://somebody:hunter2@localhost",
        "mongodb://somebody:hunter2@local host/x",
        "mongodb://somebody:hunter2%@localhost/x",
        "mongodb://somebody:hunter2/@localhost/x",
        "mongodb://somebody:@hunter2@localhost/x",
        "mongodb://somebody@localhost/x?authMechanismProperties=TOKEN:hunter2",
        "mongodb://localhost/x?tls=true&tlsCertificateKeyFilePassword=hunter2&tlsCertificateKeyFile=/no/such",
    ],
)
async def test_a_mistake_beside_a_password_does_not_show_it(url: str) -> None:
    with pytest.raises(LogUnusable) as refused:
        await open_any(url, retention=Retention())
    assert "hunter2" not in str(refused.value)
    assert "localhost" in str(refused.value).replace("local host", "localhost")


async def test_without_its_driver_the_log_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("roomcast.log.mongodb", "pymongo", "bson"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pymongo", None)
    monkeypatch.setitem(sys.modules, "bson", None)
    with pytest.raises(LogUnusable, match=r"pip install 'roomcast\[mongodb\]'"):
        await open_any("mongodb://localhost/x", retention=Retention())


async def test_read_preference_and_write_concern_are_taken_from_the_string(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def concerns(options: str) -> Sequence[object]:
        store = Store(f"mongodb://127.0.0.1:1/x{options}")
        return store.messages.write_concern.document, store.messages.read_concern.level

    assert concerns("") == ({"w": "majority", "wtimeout": 5_000}, "majority")
    assert concerns("?w=majority&wtimeoutMS=50&journal=true") == (
        {"w": "majority", "wtimeout": 50, "j": True},
        "majority",
    )
    assert concerns("?w=1") == ({"w": 1}, "local")
    assert concerns("?w=2") == ({"w": 2, "wtimeout": 5_000}, "local")
    assert concerns("?w=nearby&wtimeoutMS=50") == ({"w": "nearby", "wtimeout": 50}, "local")
    assert not caplog.messages
    concerns("?readPreference=secondary")
    assert "readPreference is not used" in caplog.text
