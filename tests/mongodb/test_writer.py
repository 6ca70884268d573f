"""The writer after a failed write. No database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure, WriteConcernError

from roomcast.log.append_queue import AppendRequest
from roomcast.log.consumers import Consumers
from roomcast.log.mongodb import writer as mongodb_writer
from roomcast.log.mongodb.documents import AppendDocument
from roomcast.log.mongodb.opening import MongoTuning, Store
from roomcast.log.mongodb.reader import MongoReader
from roomcast.log.mongodb.rooms import KnownRooms
from roomcast.log.mongodb.tail import MongoTail
from roomcast.log.mongodb.ticket_lock import TicketLock
from roomcast.log.mongodb.view import View
from roomcast.log.mongodb.writer import MongoWriter
from roomcast.log.outage import HISTORY_CHANGED, HistoryChanged
from roomcast.log.register import Register
from roomcast.log.sequencer import KeyedAppend
from roomcast.log.trimming import watermark
from roomcast.model.errors import LogUnavailable, RoomcastError
from roomcast.model.message import Message
from roomcast.model.retention import Retention
from tests.log.steps import draft, key, seqs, until

QUICK = MongoTuning(retry_seconds=0.01, patience=60)
DUPLICATE = BulkWriteError({"writeErrors": [{"code": 11000}]})

NOTHING = watermark(0, 0)


def view() -> View:
    consumers = Consumers(0, 0, fetch=None, delivered=lambda: None)  # type: ignore[arg-type]
    return View(consumers, KnownRooms([], NOTHING, 0, Register(0, 10)), {}, 0)


class Lock:
    """The turns of a process, as the test decides."""

    def __init__(self) -> None:
        self.acquired = self.released = 0
        self.queueing = self.continues = False
        self.trouble: Exception | None = None
        """The error of the next releases."""

    async def acquire(self) -> int:
        self.acquired += 1
        return 0

    def start_queueing(self) -> None:
        self.queueing = True

    def may_continue(self) -> bool:
        return self.continues

    async def release(self, newest: int) -> None:
        self.released += 1
        if self.trouble:
            raise self.trouble


class Writing:
    """A writer whose inserts fail as the test says, and its tail."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        """The errors of the next inserts."""
        self.inserted: list[int] = []
        """The seqs of the inserted documents."""
        self.found: Callable[[], dict[str, KeyedAppend]] = dict
        """The appends that have the keys of a group."""
        self.history_changes = self.reads = self.confirmed = 0
        self.finds_own = False
        """Whether a read finds the writes whose answer was lost."""
        self.unconfirmed: list[Exception] = []
        """The errors of the next confirmations."""
        self.view = view()
        self.lock = Lock()
        messages = SimpleNamespace(insert_many=self._insert)
        reader = SimpleNamespace(with_keys=self._with_keys)
        tail = SimpleNamespace(
            own_writes={},
            newest=0,
            fresh=True,
            view=self.view,
            retention=Retention(),
            catch_up=self._catch_up,
            note_history_change=self._note_history_change,
        )
        store = Store("mongodb://127.0.0.1:1/x")
        self.store = store
        store.messages = cast(Any, messages)
        store.confirm = self._confirm  # type: ignore[method-assign]
        self.writer = MongoWriter(store, cast(MongoReader, reader), cast(MongoTail, tail), QUICK)
        self.writer._lock = cast(TicketLock, self.lock)

    async def append(self, *keys: str) -> Sequence[int]:
        idempotency = key(keys[0]) if keys else None
        return seqs((await self.writer.append(AppendRequest([draft()], idempotency))).messages)

    async def _insert(self, documents: Sequence[dict[str, Any]], ordered: bool) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.inserted += [int(one["_id"]) for one in documents]

    async def _with_keys(self, keys: Sequence[str]) -> dict[str, KeyedAppend]:
        return self.found()

    async def _catch_up(self) -> None:
        self.reads += 1
        if self.finds_own:
            own = self.writer._tail.own_writes
            messages = [Message(1, "a", None, 1, 0, b"{}")]
            own.update((nonce, AppendDocument(messages, [NOTHING], nonce, 0, 0, 2)) for nonce in own)

    async def _confirm(self) -> None:
        if self.unconfirmed:
            raise self.unconfirmed.pop(0)
        self.confirmed += 1

    def _note_history_change(self) -> LogUnavailable:
        self.history_changes += 1
        return LogUnavailable(HISTORY_CHANGED)


@pytest.fixture
async def writing() -> AsyncIterator[Writing]:
    one = Writing()
    yield one
    await one.writer.end()
    await one.store.close()


async def test_a_write_that_fails_is_repeated_after_its_outcome_was_read(writing: Writing) -> None:
    writing.errors = [AutoReconnect("gone"), OperationFailure("no", 10107)]
    assert await writing.append() == [1]
    assert (writing.inserted, writing.reads) == ([1], 2)
    assert writing.writer.unwritable == ""


async def test_a_write_whose_answer_was_lost_is_answered_once_it_is_confirmed(writing: Writing) -> None:
    writing.errors = [AutoReconnect("gone")]
    writing.finds_own = True
    writing.unconfirmed = [WriteConcernError("no", 64), WriteConcernError("no", 64)]
    assert await writing.append() == [1]
    assert (writing.inserted, writing.unconfirmed, writing.reads, writing.confirmed) == ([], [], 3, 1)


async def test_a_known_key_is_answered_once_its_first_append_is_confirmed(writing: Writing) -> None:
    await writing.append()
    assert writing.confirmed == 0
    writing.found = lambda: {"0:k": KeyedAppend(b"digest", 1, 1, 1)}
    writing.unconfirmed = [WriteConcernError("no", 64)]
    assert await writing.append("k") == [1]
    assert (writing.inserted, writing.unconfirmed, writing.confirmed) == ([1], [], 1)


@pytest.mark.parametrize(("options", "writes"), [("", 0), ("?w=1", 0), ("?w=2", 1), ("?w=nearby", 1)])
async def test_a_confirmation_costs_a_write_only_if_reads_see_unconfirmed_documents(
    options: str, writes: int
) -> None:
    store, made = Store(f"mongodb://127.0.0.1:1/x{options}"), []

    async def update_one(*change: object) -> None:
        made.append(change)

    store.metadata = cast(Any, SimpleNamespace(update_one=update_one))
    await store.confirm()
    assert len(made) == writes
    await store.close()


async def test_a_writer_that_lost_its_number_twice_in_a_row_takes_tickets(writing: Writing) -> None:
    for _ in range(3):
        writing.errors = [DUPLICATE]
        await writing.append()
        assert not writing.lock.queueing
    writing.errors = [DUPLICATE, DUPLICATE]
    assert await writing.append() == [4]
    assert writing.lock.queueing


async def test_a_key_that_another_process_has_just_stored_is_read_first(writing: Writing) -> None:
    answers = [{"0:k": KeyedAppend(b"digest", 1, 1, 1)}, {}]
    writing.found = lambda: answers.pop(0)
    assert await writing.append("k") == [1]
    assert (writing.inserted, writing.reads) == ([1], 1)


async def test_an_append_waits_for_the_new_epoch_if_the_history_changes(writing: Writing) -> None:
    writing.errors = [HistoryChanged()]
    assert await writing.append() == [1]
    assert writing.history_changes == 1


async def test_a_defect_refuses_its_group_and_the_writer_goes_on(
    writing: Writing, caplog: pytest.LogCaptureFixture
) -> None:
    writing.errors = [LookupError("a defect")]
    with pytest.raises(RoomcastError, match="see the server's log"):
        await writing.append()
    assert "LookupError: a defect" in caplog.text
    assert await writing.append() == [1]


async def test_a_ticket_counter_that_holds_no_numbers_does_not_end_the_writer(writing: Writing) -> None:
    writing.lock.trouble = OverflowError("infinity")
    assert [await writing.append() for _ in range(2)] == [[1], [2]]
    assert writing.lock.released


async def test_a_turn_goes_on_as_long_as_more_is_published(writing: Writing) -> None:
    writing.lock.continues = True
    waiting = [writing.writer.append(AppendRequest([draft()] * 600, None)) for _ in range(5)]
    assert [len((await one).messages) for one in waiting] == [600] * 5
    assert writing.lock.acquired > 1

    async def released() -> bool:
        return writing.lock.released == 1

    await until(released)


async def test_a_publish_right_after_an_answer_belongs_to_the_same_turn(
    writing: Writing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongodb_writer, "_MOMENT_SECONDS", 60)
    writing.lock.continues = True
    await writing.append()
    assert await writing.append() == [2]
    assert writing.lock.released == 0
