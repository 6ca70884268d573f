"""Writes the collection: groups of appends, each append a document, one group on its way at a time.

Laws:
- Numbers are `max + 1` as this process has seen it; the unique index on `_id` decides between processes.
- An append keeps its nonce over all attempts. What became of a write without an answer is read from the log before
  anything is answered or written again: there either is a document with its nonce, or another with its number.
- A number is taken only from a view that was just read to be complete: below what is trimmed the index refuses
  nothing, and who was stopped for longer than the retention would take a number for the second time. Where the
  write itself took so long, it is proven, and else taken back, before it is answered.
- An ordered insert stops at the first document that is refused: what is stored of a group is its beginning.
- Who was beaten to a number twice in a row queues for its turn, and so do all others then: otherwise the one with
  the shorter way to the database would win every time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from bson import Int64
from pymongo.errors import BulkWriteError, PyMongoError

from roomcast.log.append_queue import Answer, Pending, Queue, Request
from roomcast.log.base import Appended, Idempotency
from roomcast.log.clock import Clock
from roomcast.log.mongodb.chain import Chain, out_of_place
from roomcast.log.mongodb.documents import Entry, key_of, nonce, to_document
from roomcast.log.mongodb.errors import unavailable
from roomcast.log.mongodb.opening import Store, Tuning
from roomcast.log.mongodb.reader import BATCH, Reader
from roomcast.log.mongodb.tail import Follower
from roomcast.log.mongodb.ticket_lock import TicketLock
from roomcast.log.mongodb.view import Fork, Seen, View
from roomcast.log.sequencer import Kept, Sequencer
from roomcast.model.errors import LogUnavailable, RoomcastError, TooLarge
from roomcast.model.message import Draft

_DOCUMENT_BYTES = 15 * 1024 * 1024
"""A document has 16 MiB, some of it for names."""
_MESSAGE_BYTES = 400
"""What a message takes beside its body, at most."""
_DUPLICATE = 11000
_OVERDUE_SECONDS = 0.25
_MOMENT_SECONDS = 0.005
"""What an answer brings about comes a moment after it; others wait as long between two looks at the queue."""
_COLLISIONS = 2
"""After so many in a row a writer queues."""

_log = logging.getLogger("roomcast.log")


class Behind(Exception):
    """Another process has written: we must see it first."""


class Writer:
    """The one writer of this process."""

    def __init__(self, store: Store, reader: Reader, follower: Follower, tuning: Tuning) -> None:
        self._store = store
        self._reader = reader
        self._follower = follower
        self._tuning = tuning
        self._turns = TicketLock(store)
        self._queue = Queue("The log is behind: its database is slower than what is published.")
        self._group: dict[int, Pending] = {}
        """By nonce, those on their way."""
        self._wanted = asyncio.Event()
        self._ended = False
        self._doubt = False
        """Whether a write is out whose fate is not known."""
        self._sent: tuple[Seen, Sequence[Entry]] | None = None
        """What was written last, and after what, until it is proven that it has its place."""
        self._collisions = 0
        self._clock = Clock()
        self.unwritable = ""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._refuse_overdue())]

    def append(self, request: Request) -> asyncio.Future[Appended]:
        pending = Pending.of(request)
        try:
            if self._ended:
                raise LogUnavailable("The log is closed.")
            _check(request.drafts)
            self._queue.add(pending)
        except RoomcastError as error:
            pending.resolve(error)
        else:
            self._wanted.set()
        return pending.answer

    async def end(self) -> None:
        """Takes no more appends, and waits for those under way."""
        self._ended = True
        self._wanted.set()
        await asyncio.wait({self._tasks[0]})
        self._tasks[1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        while not (self._ended and not self._queue):
            self._wanted.clear()
            if not self._queue and not self._ended:
                await self._wanted.wait()
            self._group = {nonce(): pending for pending in self._queue.take_group()}
            self._follower.mine.update(dict.fromkeys(self._group))
            await self._store_group()
            for number in self._group:
                del self._follower.mine[number]
            self._group = {}
            if not (self._turns.last() and await self._more()):
                # The next write says what is wrong; or somebody has written into the counter.
                with suppress(PyMongoError, TypeError, ValueError):
                    await self._turns.end(self._follower.newest)

    async def _more(self) -> bool:
        """Whether there is more to write, now or in a moment."""
        if not self._queue and not self._ended:
            self._wanted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_MOMENT_SECONDS):
                    await self._wanted.wait()
        return bool(self._queue)

    async def _store_group(self) -> None:
        """Until each has its answer."""
        while any(not pending.answer.done() for pending in self._group.values()):
            try:
                ahead = await self._turns.begin() > self._follower.newest
                if ahead or self._doubt or not self._follower.fresh:
                    await self._settle()
                await self._attempt(self._follower.view)
            except Behind:
                await self._give_way()
            except Fork:
                self._follower.fork()
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
        """Reads what became of the last write, and what others wrote."""
        await self._prove()
        await self._follower.catch_up()
        self._answer_stored()
        self._doubt = False

    def _answer_stored(self) -> None:
        for number, pending in self._group.items():
            if entry := self._follower.mine.get(number):
                pending.resolve(Appended(entry.messages, False))

    async def _attempt(self, view: View) -> None:
        """One insert of all that have no answer yet."""
        waiting = {n: p for n, p in self._group.items() if not p.answer.done()}
        if not waiting:
            return
        known = await self._known(view, [p.request.idempotency for p in waiting.values()])
        entries, answers = self._number(view, waiting, known)
        if entries:
            await self._insert(view, entries)
        for number, answer in answers.items():
            waiting[number].resolve(answer)

    async def _known(self, view: View, asked: Sequence[Idempotency | None]) -> dict[str, Entry]:
        keys = [key_of(one.scope, one.key) for one in asked if one]
        if not keys:
            return {}
        found = await self._reader.with_keys(keys)
        if any(entry.last > view.newest for entry in found):
            raise Behind
        return {entry.key: entry for entry in found if entry.key}

    def _number(
        self, view: View, waiting: dict[int, Pending], known: dict[str, Entry]
    ) -> tuple[list[Entry], dict[int, Answer]]:
        """The documents to insert, and what each is to be answered when they are stored."""
        asked = [p.request.idempotency for p in waiting.values() if p.request.idempotency]
        entries = {
            (one.scope, one.key): known[key_of(one.scope, one.key)]
            for one in asked
            if key_of(one.scope, one.key) in known
        }
        numbering = Sequencer(
            self._follower.retention,
            view.newest,
            self._clock.now(view.retained_at),
            lambda room: view.rooms.newest_of(room).seq,
            {key: Kept(e.digest, e.first, len(e.messages), e.stored_at) for key, e in entries.items()},
        )
        chain = Chain(view)
        answers: dict[int, Answer] = {}
        for number, pending in waiting.items():
            try:
                answers[number] = appended = numbering.append(*pending.request)
            except RoomcastError as error:
                answers[number] = error
            else:
                if appended.messages and not appended.repeated:
                    chain.add(number, appended.messages, pending.request.idempotency)
        return chain.entries, answers

    async def _insert(self, view: View, entries: Sequence[Entry]) -> None:
        self._doubt, self._sent = True, (view.seen, entries)
        try:
            await self._store.messages.insert_many([to_document(entry) for entry in entries], ordered=True)
        except BulkWriteError as error:
            errors = error.details.get("writeErrors", [])
            if not errors or errors[0]["code"] != _DUPLICATE or error.details.get("writeConcernErrors"):
                raise
            raise Behind from None
        await self._prove()
        self._doubt = False
        for entry in entries:
            view.absorb(entry)

    async def _prove(self) -> None:
        """That what was sent is in its place. Raises `Behind` where that was trimmed before it came, and it is
        taken back."""
        if self._sent and not self._follower.fresh:
            before, entries = self._sent
            found = await self._reader.since(max(1, before.first), len(entries) + 2)
            if out_of_place(before, entries, found):
                _log.warning(
                    "a write came so late that its number was taken and trimmed: it is written again by itself"
                )
                numbers = [Int64(entry.first) for entry in entries]
                nonces = [Int64(entry.nonce) for entry in entries]
                late = {"_id": {"$in": numbers}, "roomcast.nonce": {"$in": nonces}}
                await self._store.messages.delete_many(late)
                raise Behind
        self._sent = None

    async def _give_way(self) -> None:
        """Another was faster: sees what it wrote, and after some defeats queues."""
        self._collisions += 1
        self._doubt = True
        if self._collisions >= _COLLISIONS:
            # What stands in our way may not be confirmed yet.
            await asyncio.sleep(min(0.001 * 2**self._collisions, self._tuning.retry_seconds))
            self._turns.ask()

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

    def _answer_all(self, answer: Answer) -> None:
        for pending in self._group.values():
            pending.resolve(answer)

    async def _refuse_overdue(self) -> None:
        """Nobody waits longer than `patience`. A write that is out by then may be stored all the same."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_OVERDUE_SECONDS)
            before = loop.time() - self._tuning.patience
            overdue = [*self._queue.overdue(before), *(p for p in self._group.values() if p.since < before)]
            for pending in overdue:
                pending.resolve(LogUnavailable(self.unwritable or "The database takes too long."))


def _check(drafts: Sequence[Draft]) -> None:
    """An append is one document."""
    if len(drafts) > BATCH:
        raise TooLarge(f"These are {len(drafts)} messages, and a batch has at most {BATCH}.")
    size = sum([len(draft.body) + _MESSAGE_BYTES for draft in drafts])
    if size > _DOCUMENT_BYTES:
        raise TooLarge(
            f"These are {size} bytes, and a document of MongoDB has at most 16 MiB: send several batches."
        )
