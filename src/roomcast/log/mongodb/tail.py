"""Keeps the view current: with one tailable cursor for the whole process, and a check every second.

Laws:
- The cursor is only a fast path. The tail reads everything since the newest seen document by range if a document
  does not follow it exactly, if the cursor ends for any reason, and if the check finds a newer document that stays
  unseen, or misses the newest seen one. It also does so on request (`catch_up`).
- `next()` on a cursor is cancelled only to close the log: cancelling ends the cursor, and loses what it had read.
- A history that differs from what was delivered is never joined to it: the log goes on under a new epoch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pymongo import CursorType
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from roomcast.log.consumers import Consumers
from roomcast.log.mongodb import state as mongodb_state
from roomcast.log.mongodb.caps import MongoCaps
from roomcast.log.mongodb.documents import AppendDocument, DocumentEnds, from_document
from roomcast.log.mongodb.errors import is_away, unavailable
from roomcast.log.mongodb.opening import MongoTuning, Store
from roomcast.log.mongodb.range_reader import RangeReader
from roomcast.log.mongodb.reader import MongoReader, id_range, parse
from roomcast.log.mongodb.rooms import KnownRooms
from roomcast.log.mongodb.view import View
from roomcast.log.outage import HISTORY_CHANGED, NOT_REACHED, HistoryChanged, Outage
from roomcast.log.register import Register, register_size
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.retention import Retention

_PAUSE_FACTOR = 4
"""The pause between two checks is at least this many times as long as the last check took."""
_MESSAGES_A_SECOND = 10_000
_BYTES_A_SECOND = 10_000_000
"""The most that all processes together are assumed to write to one collection."""

_log = logging.getLogger("roomcast.log")


class MongoTail:
    """Follows the collection for the whole process. Begins a new epoch if the collection's history has changed."""

    def __init__(
        self,
        store: Store,
        reader: MongoReader,
        consumers: Consumers,
        configured: Retention,
        tuning: MongoTuning,
        empty_rooms: int,
    ) -> None:
        """`consumers`: those that the new messages are passed to. `configured`: the caps of a new collection.
        `empty_rooms`: how many rooms without messages are remembered."""
        self.epoch = ""
        """Empty until the database is reached."""
        self.own_writes: dict[int, AppendDocument | None] = {}
        """By nonce, this process's writes whose outcome is not known. The writer adds and removes them; the view
        puts in the document that it finds."""
        self._store = store
        self._reader = reader
        self._consumers = consumers
        self._caps = MongoCaps(store, configured, tuning.caps_seconds)
        self._tuning = tuning
        self._empty_rooms = empty_rooms
        self._view: View | None = None
        self._outage = Outage()
        self._lock = asyncio.Lock()
        self._range = RangeReader(reader, tuning.stale_seconds)
        self._history_changed = False
        """Whether the collection has another history than the view."""
        self._newest_found = 0
        """The newest seq in the collection at the last check."""
        self._saved_upto = 0
        """The seq up to which the rooms are saved."""
        self._complete_at = (0.0, 0.0)
        """When the last read that completed the view began, on both clocks."""

    @property
    def retention(self) -> Retention:
        """The collection's caps, as they were read last."""
        return self._caps.retention

    @property
    def fresh(self) -> bool:
        """Whether the view was complete so recently that its newest document cannot be trimmed yet, however much
        other processes wrote."""
        # On both clocks: the monotonic one stops while the machine sleeps, and the other one may be set.
        passed = max(abs(now - then) for now, then in zip(_clocks(), self._complete_at, strict=True))
        messages, size, *_ = self.retention
        return passed < min(messages / _MESSAGES_A_SECOND, size / _BYTES_A_SECOND)

    @property
    def view(self) -> View:
        """The log as this process has seen it. Raises `LogUnavailable` while the database is away."""
        self.check()
        if self._view is None:
            raise LogUnavailable(NOT_REACHED)
        return self._view

    @property
    def newest(self) -> int:
        """The newest seq that was seen, also while the database is away."""
        return self._view.newest if self._view else 0

    def check(self) -> None:
        """Raises `LogUnavailable` while the database is away."""
        self._outage.check()

    async def begin(self, *, new_epoch: bool = False) -> None:
        """Opens the collection, under a new epoch if `new_epoch` says so. If it is called again, because the
        history has changed, it begins a new epoch or joins the one that another process has begun. Raises
        `LogUnusable`, `LogUnavailable`, `PyMongoError`."""
        if self._view:
            self._view.abandoned = True
            self._outage.begin_anew()
            self._consumers.restart(0, 0)
        self._caps.note(await self._store.prepare(self._caps.configured))
        state = await mongodb_state.load(self._store)
        latest, oldest = await self._reader.latest(), await self._reader.oldest()
        trimmed = oldest.first - 1 if oldest else 0
        # If another process has also found the change and has already begun an epoch, this one joins that epoch.
        changed = self._history_changed and state.epoch == self.epoch
        if new_epoch or changed or state.counted > (latest.last if latest else 0):
            timed_after = latest.last if new_epoch and latest else 0
            state = await mongodb_state.begin_epoch(self._store, state.epoch, trimmed, timed_after)
            _log.warning(
                "the log goes on under the new epoch %s: clients are told of a gap, nothing is left to do",
                state.epoch,
            )
        register = Register(state.counted, register_size(self.retention.max_messages))
        known = await mongodb_state.load_rooms(self._store)
        rooms = KnownRooms(known, state.forgotten, self._empty_rooms, register)
        self._view = View(self._consumers, rooms, self.own_writes, state.counted, state.timed_after)
        self._view.filling = True
        self._saved_upto = 0
        await self.catch_up()
        self._view.filling = False
        self._view.trim(trimmed)
        self.epoch, self._history_changed = state.epoch, False
        self._outage.end()
        self._consumers.restart(self._view.newest, self._view.trimmed)

    async def run(self) -> None:
        """Follows the collection until it is cancelled, whatever fails."""
        while True:
            await self._noting_failures(self._follow)
            await asyncio.sleep(self._tuning.retry_seconds)

    async def watch(self) -> None:
        """Checks the newest document and the epoch repeatedly until it is cancelled."""
        took = 0.0
        while True:
            # A slow database is not queried more often than it can answer.
            await asyncio.sleep(max(self._tuning.check_seconds, _PAUSE_FACTOR * took))
            began = time.monotonic()
            if self._view and not self._history_changed:
                await self._noting_failures(self._check)
            took = time.monotonic() - began

    async def catch_up(self) -> None:
        """Reads everything since the newest document that was seen. Raises `HistoryChanged`, `LogUnavailable`,
        `PyMongoError`."""
        async with self._lock:
            began = _clocks()
            while not await self._range.read(self._view or self.view):
                began = _clocks()
            self._complete_at = began

    async def find_trimmed(self) -> int:
        """Finds out up to which seq the collection is trimmed. Takes two reads. Raises as `catch_up` does."""
        await self._check_ends(self.view)
        return self.view.trimmed

    async def _follow(self) -> None:
        if self._view is None or self._history_changed:
            await self.begin()
        await self.catch_up()
        self._outage.end()
        self._caps.invalidate()  # whatever ended the last cursor may have changed the caps
        try:
            await self._follow_cursor()
        except OperationFailure as error:
            if is_away(error):
                raise
            # The end of a cursor is no outage, whatever the reason: the log is read by range, and a new cursor is
            # opened.
            _log.info("the cursor has ended, and another is opened: %s", unavailable(error).detail)

    async def _follow_cursor(self) -> None:
        view = self._view
        assert view
        cursor = self._store.messages.find(
            # Begins with the newest seen document: a cursor that finds nothing ends at once.
            {"_id": id_range(max(1, view.seen.first))},
            cursor_type=CursorType.TAILABLE_AWAIT,
            batch_size=self._tuning.first_batch,
        ).max_await_time_ms(self._tuning.await_ms)
        opened = self._tuning.opened
        while cursor.alive and view is self._view and not self._history_changed:
            async for document in cursor:
                if not view.absorb(parse(from_document, document)):
                    await self.catch_up()
                if opened:
                    opened(cursor)
                    opened = None
        # Not closed after an error: the driver would look for a server to close it on, which delays the report of
        # the error.
        await cursor.close()

    async def _check(self) -> None:
        view = self._view
        assert view
        if self._newest_found > view.newest:
            await self.catch_up()
        state = await mongodb_state.read(self._store)
        if state.epoch != self.epoch:
            _log.warning("another server has begun the epoch %s: this one joins it by itself", state.epoch)
            self._history_changed = True
            await self.begin()
            return
        await self._check_ends(view)
        await self._caps.refresh()
        self._outage.end()
        if view.newest > self._saved_upto:
            await self._save_rooms(view)

    async def _check_ends(self, view: View) -> None:
        oldest = await self._reader.oldest()
        newest = await self._reader.newest()
        if oldest and oldest.first - 1 > view.newest:
            await self.catch_up()
        if oldest:
            view.trim(min(oldest.first - 1, view.newest))
            self._caps.note_retained(view.newest - view.trimmed)
        self._newest_found = newest.last if newest else 0
        if view.seen.nonce and (self._newest_found < view.newest or (newest and _differs(newest, view))):
            await self.catch_up()  # finds out whether the newest seen document is gone

    async def _save_rooms(self, view: View) -> None:
        """Saves the rooms. If another process saves a new room at the same moment, one of the two fails, and saves
        it at the next check."""
        counted = view.newest
        with suppress(BulkWriteError, KeyError):  # KeyError: FerretDB's answer lacks a field that the driver needs
            await mongodb_state.save(self._store, self.epoch, view.rooms, counted)
            self._saved_upto = counted

    async def _noting_failures(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except HistoryChanged:
            self.note_history_change()
        except PyMongoError as error:
            self.note_outage(self._store.refusal(error) or unavailable(error))
        except (LogUnavailable, LogUnusable) as error:
            self.note_outage(error)
        except Exception:
            _log.exception("following the log failed")
            self.note_outage(LogUnavailable("Following the log failed: see the server's log."))

    def note_history_change(self) -> LogUnavailable:
        """Notes that the delivered history is not the collection's: `run` begins a new epoch. Returns the error
        for calls until then."""
        if not self._history_changed:
            self._history_changed = True
            self._outage.begin_anew()
            _log.error(
                "the database has lost or rolled back messages that were delivered: the log goes on under a new "
                "epoch, and every follower is told of a gap; check its write concern and its members"
            )
        return LogUnavailable(HISTORY_CHANGED)

    def note_outage(self, error: LogUnavailable | LogUnusable) -> None:
        """Notes that the database cannot be read; `error` says why."""
        self._outage.begin(error)


def _differs(newest: DocumentEnds, view: View) -> bool:
    """Whether the collection has another document under the newest seen number."""
    return newest.last == view.newest and newest.nonce != view.seen.nonce


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()
