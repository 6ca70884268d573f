"""Inserts appends into the collection. Each append is a document; one group of them is written at a time.

Laws:
- A number is the newest seq that this process has seen, plus one; the unique index on `_id` decides between
  processes.
- An append keeps its nonce over all attempts. If the database did not answer a write, the writer reads the outcome
  before it answers or writes anything: there is either a document with its nonce, or another one with its number.
  If the writer finds the append's document by such a read, it answers once the document is confirmed.
- A number is used only if the view was just read to be complete. The unique index cannot reject a number whose
  document was already trimmed, so a process that was paused for longer than the retention could otherwise reuse
  one. If the write itself took that long, the writer checks it before it answers, and deletes it if it is out of
  place.
- An ordered insert stops at the first document that is refused: only the beginning of a group is stored.
- A process that lost its number to another one twice in a row takes a ticket, and then all others do, too.
  Otherwise the process with the fastest connection to the database would always win.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from bson import Int64
from pymongo.errors import BulkWriteError, PyMongoError

from roomcast.log.append_queue import AppendAnswer, AppendQueue, AppendRequest, PendingAppend
from roomcast.log.base import Appended, Idempotency
from roomcast.log.clock import Clock
from roomcast.log.mongodb.chain import Chain, out_of_place
from roomcast.log.mongodb.documents import AppendDocument, check_fits, key_of, new_nonce, to_document
from roomcast.log.mongodb.errors import unavailable
from roomcast.log.mongodb.opening import MongoTuning, Store
from roomcast.log.mongodb.reader import MongoReader
from roomcast.log.mongodb.tail import MongoTail
from roomcast.log.mongodb.ticket_lock import TicketLock
from roomcast.log.mongodb.view import NewestSeen, View
from roomcast.log.outage import HistoryChanged
from roomcast.log.sequencer import KeyedAppend, Sequencer
from roomcast.model.errors import LogUnavailable, RoomcastError

_DUPLICATE = 11000
_OVERDUE_SECONDS = 0.25
"""Seconds between two checks for publishes that have waited too long."""
_MOMENT_SECONDS = 0.005
"""How long a turn waits for more publishes: a publisher that was just answered may send its next one at once.
Other processes poll at the same interval."""
_COLLISIONS = 2
"""After this many in a row, a writer takes tickets."""

_log = logging.getLogger("roomcast.log")


class _OtherProcessWrote(Exception):
    """Another process has written. Its documents must be read first."""


class MongoWriter:
    """The one writer of this process."""

    def __init__(self, store: Store, reader: MongoReader, tail: MongoTail, tuning: MongoTuning) -> None:
        """Starts the writer's tasks, which `end` ends."""
        self._store = store
        self._reader = reader
        self._tail = tail
        self._tuning = tuning
        self._lock = TicketLock(store)
        self._queue = AppendQueue("The log is behind: its database is slower than what is published.")
        self._group: dict[int, PendingAppend] = {}
        """By nonce, the appends that are being written."""
        self._has_work = asyncio.Event()
        """Set when an append waits, or when the writer is to end."""
        self._ended = False
        self._unsure = False
        """Whether the outcome of the last write is not known."""
        self._sent: tuple[NewestSeen, Sequence[AppendDocument]] | None = None
        """The last write, and the newest document before it, until the write is known to be in its place."""
        self._collisions = 0
        """How many writes in a row lost their number to another process."""
        self._clock = Clock()
        self.unwritable = ""
        """Why the last write failed, as a sentence; empty if it did not."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._refuse_overdue())]

    def append(self, request: AppendRequest) -> asyncio.Future[Appended]:
        """Stores the messages of `request` with the next group. The future fails as that of `Log.append`: with
        `TooLarge` (also if the append does not fit into a document), with `KeyReused`, or with `LogUnavailable`
        (after `patience` seconds, if the queue is full, or if the log is closed)."""
        pending = PendingAppend.for_request(request)
        try:
            if self._ended:
                raise LogUnavailable("The log is closed.")
            check_fits(request.drafts)
            self._queue.add(pending)
        except RoomcastError as error:
            pending.resolve(error)
        else:
            self._has_work.set()
        return pending.answer

    async def end(self) -> None:
        """Accepts no more appends, and waits for those under way."""
        self._ended = True
        self._has_work.set()
        await asyncio.wait({self._tasks[0]})
        self._tasks[1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        while not (self._ended and not self._queue):
            self._has_work.clear()
            if not self._queue and not self._ended:
                await self._has_work.wait()
            self._group = {new_nonce(): pending for pending in self._queue.take_group()}
            self._tail.own_writes.update(dict.fromkeys(self._group))
            await self._store_group()
            for nonce in self._group:
                del self._tail.own_writes[nonce]
            self._group = {}
            if not (self._lock.may_continue() and await self._more()):
                # The next write reports an outage. Any other error means that the counter was overwritten by hand:
                # the lock is only advice, and the writer must not end.
                with suppress(Exception):
                    await self._lock.release(self._tail.newest)

    async def _more(self) -> bool:
        """Whether there is more to write, now or within a moment."""
        if not self._queue and not self._ended:
            self._has_work.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_MOMENT_SECONDS):
                    await self._has_work.wait()
        return bool(self._queue)

    async def _store_group(self) -> None:
        """Tries until each append of the group has its answer."""
        while any(not pending.answer.done() for pending in self._group.values()):
            try:
                ahead = await self._lock.acquire() > self._tail.newest
                if ahead or self._unsure or not self._tail.fresh:
                    await self._settle()
                await self._attempt(self._tail.view)
            except _OtherProcessWrote:
                await self._give_way()
            except HistoryChanged:
                self._tail.note_history_change()
                await self._pause("")
            except PyMongoError as error:
                await self._pause(unavailable(error).detail)
            except LogUnavailable as error:
                await self._pause(error.detail)
            except Exception:
                _log.exception("a group of publishes failed")
                self._answer_all(RoomcastError("see the server's log"))
            else:
                self._recovered()

    async def _settle(self) -> None:
        """Reads the outcome of the last write, and what other processes wrote."""
        await self._check_place()
        await self._tail.catch_up()
        await self._answer_stored()
        self._unsure = False

    async def _answer_stored(self) -> None:
        found = {nonce: entry for nonce in self._group if (entry := self._tail.own_writes.get(nonce))}
        if found:
            await self._store.confirm()
        for nonce, entry in found.items():
            self._group[nonce].resolve(Appended(entry.messages, False))

    async def _attempt(self, view: View) -> None:
        """Inserts all appends that have no answer yet."""
        waiting = {n: p for n, p in self._group.items() if not p.answer.done()}
        if not waiting:
            return
        known = await self._known(view, [p.request.idempotency for p in waiting.values()])
        entries, answers = self._sequence(view, waiting, known)
        if entries:
            await self._insert(view, entries)
        else:  # only known keys: what they stored may not be confirmed yet
            await self._store.confirm()
        for nonce, answer in answers.items():
            waiting[nonce].resolve(answer)

    async def _known(self, view: View, requested: Sequence[Idempotency | None]) -> dict[str, KeyedAppend]:
        """The appends that have one of these idempotency keys, by key."""
        keys = [key_of(one.scope, one.key) for one in requested if one]
        if not keys:
            return {}
        found = await self._reader.with_keys(keys)
        if any(one.first + one.size - 1 > view.newest for one in found.values()):
            raise _OtherProcessWrote
        return found

    def _sequence(
        self, view: View, waiting: dict[int, PendingAppend], known: dict[str, KeyedAppend]
    ) -> tuple[list[AppendDocument], dict[int, AppendAnswer]]:
        """The documents to insert, and the answer to each append once they are stored."""
        requested = [p.request.idempotency for p in waiting.values() if p.request.idempotency]
        keyed = {
            (one.scope, one.key): known[key_of(one.scope, one.key)]
            for one in requested
            if key_of(one.scope, one.key) in known
        }
        sequencer = Sequencer(
            self._tail.retention,
            view.newest,
            self._clock.now(view.retained_at),
            lambda room: view.rooms.newest_of(room).seq,
            keyed,
        )
        chain = Chain(view)
        answers: dict[int, AppendAnswer] = {}
        for nonce, pending in waiting.items():
            try:
                answers[nonce] = appended = sequencer.append(*pending.request)
            except RoomcastError as error:
                answers[nonce] = error
            else:
                if appended.messages and not appended.repeated:
                    chain.add(nonce, appended.messages, pending.request.idempotency)
        return chain.entries, answers

    async def _insert(self, view: View, entries: Sequence[AppendDocument]) -> None:
        self._unsure, self._sent = True, (view.seen, entries)
        try:
            await self._store.messages.insert_many([to_document(entry) for entry in entries], ordered=True)
        except BulkWriteError as error:
            errors = error.details.get("writeErrors", [])
            if not errors or errors[0]["code"] != _DUPLICATE or error.details.get("writeConcernErrors"):
                raise
            raise _OtherProcessWrote from None
        await self._check_place()
        self._unsure = False
        for entry in entries:
            view.absorb(entry)

    async def _check_place(self) -> None:
        """Checks that the last write is in its place. If its number had been used and trimmed before, deletes it
        and raises `_OtherProcessWrote`."""
        if self._sent and not self._tail.fresh:
            before, entries = self._sent
            found = await self._reader.since(max(1, before.first), len(entries) + 2)
            if out_of_place(before, entries, found):
                _log.warning(
                    "a write came so late that its number had been used and trimmed: it is written again, "
                    "nothing is left to do"
                )
                numbers = [Int64(entry.first) for entry in entries]
                nonces = [Int64(entry.nonce) for entry in entries]
                late = {"_id": {"$in": numbers}, "roomcast.nonce": {"$in": nonces}}
                await self._store.messages.delete_many(late)
                raise _OtherProcessWrote
        self._sent = None

    async def _give_way(self) -> None:
        """Notes that another process was faster: its documents are read next. Takes tickets after
        `_COLLISIONS`."""
        self._collisions += 1
        self._unsure = True
        if self._collisions >= _COLLISIONS:
            # The other process's document may not be confirmed yet.
            await asyncio.sleep(min(0.001 * 2**self._collisions, self._tuning.retry_seconds))
            self._lock.start_queueing()

    async def _pause(self, why: str) -> None:
        if why and not self.unwritable:
            _log.warning("publishing waits; once the database takes writes, it goes on by itself: %s", why)
        self.unwritable = why or self.unwritable
        await asyncio.sleep(self._tuning.retry_seconds)

    def _recovered(self) -> None:
        self._collisions = 0
        if self.unwritable:
            self.unwritable = ""
            _log.warning("publishing goes on: nothing is left to do")

    def _answer_all(self, answer: AppendAnswer) -> None:
        for pending in self._group.values():
            pending.resolve(answer)

    async def _refuse_overdue(self) -> None:
        """Refuses publishes that have waited longer than `patience`. A publish that is being written may still be
        stored."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_OVERDUE_SECONDS)
            before = loop.time() - self._tuning.patience
            overdue = [*self._queue.overdue(before), *(p for p in self._group.values() if p.since < before)]
            for pending in overdue:
                pending.resolve(LogUnavailable(self.unwritable or "The database takes too long."))
