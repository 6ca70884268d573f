"""Keeps the view current: one tailable cursor for the whole process, and a look now and then.

Laws:
- The cursor is a fast path, never the truth. What does not go on exactly where we are, a cursor that ends for any
  reason, and a newest document that stays ahead of us lead to a read by range of everything since.
- `next()` on a cursor is never cancelled but to close: that would end it, and lose what it had.
- A history that differs from what was delivered is never joined to it: the log goes on under a new epoch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from pymongo import CursorType
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from roomcast.log.consumers import Consumers
from roomcast.log.mongodb import state as mongodb_state
from roomcast.log.mongodb.caps import Caps
from roomcast.log.mongodb.documents import Entry, Mark, from_document
from roomcast.log.mongodb.errors import is_away, unavailable
from roomcast.log.mongodb.opening import Store, Tuning
from roomcast.log.mongodb.reader import RANGE_DOCUMENTS, Reader, numbers, ours
from roomcast.log.mongodb.rooms import Rooms
from roomcast.log.mongodb.view import Fork, Seen, View
from roomcast.log.register import Register, remembered
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.retention import Retention

_REST = 4
"""How many times as long as a look took it is until the next."""
_MESSAGES_A_SECOND = 10_000
_BYTES_A_SECOND = 10_000_000
"""No more is taken to be written to one collection, by all together."""
_ANEW = "The log is read anew, as its history has changed."

_log = logging.getLogger("roomcast.log")


class Follower:
    """Follows the collection."""

    def __init__(
        self, store: Store, reader: Reader, feed: Consumers, asked: Retention, tuning: Tuning, empty_rooms: int
    ) -> None:
        self.epoch = ""
        """Empty until the database was reached."""
        self.mine: dict[int, Entry | None] = {}
        """By nonce, the writes of this process whose fate is not known; see `View`."""
        self._store = store
        self._reader = reader
        self._feed = feed
        self._caps = Caps(store, asked, tuning.caps_seconds)
        self._tuning = tuning
        self._empty_rooms = empty_rooms
        self._view: View | None = None
        self._outage: LogUnavailable | None = None
        self._lock = asyncio.Lock()
        self._missing_since: float | None = None
        self._forked = False
        """Whether the collection has another history than the one we read."""
        self._ahead = 0
        """How far the log reached at the last look."""
        self._counted = 0
        self._proven = (0.0, 0.0)

    @property
    def retention(self) -> Retention:
        """The collection's caps, as they were read last."""
        return self._caps.retention

    @property
    def fresh(self) -> bool:
        """Whether so little time has passed since the view was read to be complete that its end cannot be trimmed
        since, whatever others wrote."""
        # By both clocks: one stands still in a machine that sleeps, the other one is set.
        passed = max(abs(now - then) for now, then in zip(_clocks(), self._proven, strict=True))
        messages, size, *_ = self.retention
        return passed < min(messages / _MESSAGES_A_SECOND, size / _BYTES_A_SECOND)

    @property
    def view(self) -> View:
        """Raises `LogUnavailable` while the database is away."""
        self.check()
        if self._view is None:
            raise LogUnavailable("The database was not reached yet.")
        return self._view

    @property
    def newest(self) -> int:
        """The newest message that was seen, also while the database is away."""
        return self._view.newest if self._view else 0

    def check(self) -> None:
        """Raises `LogUnavailable` while the database is away, each time its own: a traceback grows with every
        task that raises the same one."""
        if self._outage:
            raise LogUnavailable(self._outage.detail)

    async def begin(self, *, new_epoch: bool = False) -> None:
        """Takes the collection over, or takes up its present history. Raises `LogUnusable`, `PyMongoError`."""
        if self._view:
            self._view.abandoned = True
            self._outage = LogUnavailable(_ANEW)
            self._feed.restart(0, 0)
        self._caps.take(await self._store.prepare(self._caps.asked))
        state = await mongodb_state.load(self._store)
        latest, oldest = await self._reader.latest(), await self._reader.oldest()
        trimmed = oldest.first - 1 if oldest else 0
        # Where another process has seen the fork as well, and was faster, its epoch is ours.
        forked = self._forked and state.epoch == self.epoch
        if new_epoch or forked or state.counted > (latest.last if latest else 0):
            timed_after = latest.last if new_epoch and latest else 0
            state = await mongodb_state.begin_epoch(self._store, state.epoch, trimmed, timed_after)
            _log.warning(
                "the log goes on under the new epoch %s: clients are told a gap, nothing is left to do",
                state.epoch,
            )
        register = Register(state.counted, remembered(self.retention.max_messages))
        known = await mongodb_state.load_rooms(self._store)
        rooms = Rooms(known, state.forgotten, self._empty_rooms, register)
        self._view = View(self._feed, rooms, self.mine, state.counted, state.timed_after)
        self._counted = 0
        await self.catch_up()
        self._view.trim(trimmed)
        self.epoch, self._forked = state.epoch, False
        self._back()
        self._feed.restart(self._view.newest, self._view.trimmed)

    async def run(self) -> None:
        """Follows, whatever happens, until it is cancelled."""
        while True:
            await self._survive(self._follow)
            await asyncio.sleep(self._tuning.retry_seconds)

    async def look_after(self) -> None:
        """Looks at the newest document and at the epoch, until it is cancelled."""
        took = 0.0
        while True:
            # A database that is slow to answer is not asked more often than it can.
            await asyncio.sleep(max(self._tuning.look_seconds, _REST * took))
            began = time.monotonic()
            if self._view and not self._forked:
                await self._survive(self._look)
            took = time.monotonic() - began

    async def catch_up(self) -> None:
        """Takes in everything since the newest that was seen. Raises `Fork`, `LogUnavailable`, `PyMongoError`."""
        async with self._lock:
            began = _clocks()
            while not await self._take_range(self._view or self.view):
                began = _clocks()
            self._proven = began

    async def trim(self) -> int:
        """Finds out how far the collection is trimmed."""
        await self._look_at_ends(self.view)
        return self.view.trimmed

    async def _follow(self) -> None:
        if self._view is None or self._forked:
            await self.begin()
        await self.catch_up()
        self._back()
        self._caps.suspect()  # whatever ended the last cursor may have changed them
        try:
            await self._follow_cursor()
        except OperationFailure as error:
            if is_away(error):
                raise
            # A cursor's own end is no outage: whatever its reason, the log is read on, and another one is opened.
            _log.info("the cursor has ended, and another is opened: %s", unavailable(error).detail)

    async def _follow_cursor(self) -> None:
        view = self._view
        assert view
        cursor = self._store.messages.find(
            # With the newest that was seen: on an empty result a cursor ends at once.
            {"_id": numbers(max(1, view.seen.first))},
            cursor_type=CursorType.TAILABLE_AWAIT,
            batch_size=self._tuning.first_batch,
        ).max_await_time_ms(self._tuning.await_ms)
        opened = self._tuning.opened
        while cursor.alive and view is self._view and not self._forked:
            async for document in cursor:
                if not view.absorb(ours(from_document, document)):
                    await self.catch_up()
                if opened:
                    opened(cursor)
                    opened = None
        # Only here: after an error the driver would look for a server to close it on, and hold up the news.
        await cursor.close()

    async def _take_range(self, view: View) -> bool:
        """One read of it; whether it reached the end."""
        seen = view.seen
        entries = await (self._reader.since(seen.first) if seen.nonce else self._reader.range(max(1, seen.last)))
        # Of what others and our own writer add to the view while we read, nothing has to be in it.
        if seen.nonce and not (entries and entries[0].first <= seen.last):
            await self._find_missing(seen, entries)
        self._missing_since = None
        for entry in entries:
            if not view.absorb(entry):
                await self._bridge(view, entry)
        return len(entries) < RANGE_DOCUMENTS

    async def _find_missing(self, seen: Seen, entries: Sequence[Entry]) -> None:
        """The newest before `entries` were read is not there: trimmed, not there yet on a new primary, or gone."""
        oldest = await self._reader.oldest()
        if oldest and oldest.first > seen.last:
            return
        now = asyncio.get_running_loop().time()
        self._missing_since = self._missing_since or now
        if entries or now - self._missing_since > self._tuning.stale_seconds:
            raise Fork
        raise LogUnavailable(
            "The database does not have what it confirmed: it may need a moment after a failover."
        )

    async def _bridge(self, view: View, entry: Entry) -> None:
        """Something is missing before `entry`. As documents are only ever added behind the newest, it was trimmed;
        or it was taken back."""
        oldest = await self._reader.oldest()
        if oldest is None or oldest.first < entry.first:
            raise Fork
        view.jump(oldest)
        view.absorb(entry)

    async def _look(self) -> None:
        view = self._view
        assert view
        if self._ahead > view.newest:
            await self.catch_up()
        state = await mongodb_state.look(self._store)
        if state.epoch != self.epoch:
            _log.warning(
                "another server has begun the epoch %s: this one follows, nothing is left to do", state.epoch
            )
            self._forked = True
            await self.begin()
            return
        await self._look_at_ends(view)
        await self._caps.look()
        self._back()
        if view.newest > self._counted:
            await self._write_down(view)

    async def _look_at_ends(self, view: View) -> None:
        oldest = await self._reader.oldest()
        newest = await self._reader.newest()
        if oldest and oldest.first - 1 > view.newest:
            await self.catch_up()
        if oldest:
            view.trim(min(oldest.first - 1, view.newest))
            self._caps.note_held(view.newest - view.trimmed)
        self._ahead = newest.last if newest else 0
        if view.seen.nonce and (self._ahead < view.newest or (newest and self._other(newest, view))):
            await self.catch_up()  # which finds out whether it is gone

    async def _write_down(self, view: View) -> None:
        """What is known of the rooms. Where another process makes the first note of a room at the same moment, one
        of the two fails: it is written with the next look."""
        counted = view.newest
        with suppress(BulkWriteError, KeyError):  # FerretDB's answer has not what the driver looks for then
            await mongodb_state.save(self._store, view.rooms, counted)
            self._counted = counted

    def _other(self, newest: Mark, view: View) -> bool:
        """Whether the newest that was seen is not what is there under its number."""
        return newest.last == view.newest and newest.nonce != view.seen.nonce

    async def _survive(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except Fork:
            self.fork()
        except PyMongoError as error:
            self.away(self._store.refusal(error) or unavailable(error))
        except (LogUnavailable, LogUnusable) as error:
            self.away(error)
        except Exception:
            _log.exception("following the log failed")
            self.away(LogUnavailable("Following the log failed: see the server's log."))

    def fork(self) -> LogUnavailable:
        """What was delivered is not what the collection holds now. Gives what to tell who asks meanwhile."""
        if not self._forked:
            self._forked = True
            self._outage = LogUnavailable(_ANEW)
            _log.error(
                "the database has lost messages that were delivered, or taken them back: the log goes on under a "
                "new epoch, and every follower is told of a gap. Look in the database's log for a failover or a "
                "restore"
            )
        return LogUnavailable(_ANEW)

    def away(self, error: LogUnavailable | LogUnusable) -> None:
        """Notes that, and why, the database cannot be read."""
        # Where waiting does not help, a person must hear of it, also where it was away for another reason before.
        news = isinstance(error, LogUnusable) and self._outage and self._outage.detail != error.detail
        if self._outage is None or news:
            _log.warning(
                "the log is away, followers wait; once it answers, all goes on by itself: %s", error.detail
            )
        self._outage = LogUnavailable(error.detail)

    def _back(self) -> None:
        if self._outage:
            _log.warning("the log is back: nothing is left to do")
        self._outage = None


def _clocks() -> tuple[float, float]:
    return time.monotonic(), time.time()
