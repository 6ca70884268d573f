"""The log in a capped collection of MongoDB: one log for any number of servers. Lives on the event loop.

Laws:
- The collection is the log; its caps trim it, on every insert of any process. We delete or change no document,
  except one that we wrote ourselves and that arrived after its number had been used and trimmed (see `writer`).
- Trimming does not wait for consumers. A process that was away for longer than the retention has a hole, and its
  clients are told of a gap.
- While the database is away, only publishes wait for it, and for a bounded time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar

from pymongo.errors import PyMongoError

from roomcast import tasks
from roomcast.log.append_queue import AppendRequest
from roomcast.log.base import Appended, Bounds, Idempotency, Page, RoomSort, RoomStats
from roomcast.log.consumers import Consumers
from roomcast.log.local import LocalLog
from roomcast.log.mongodb.errors import is_away, unavailable
from roomcast.log.mongodb.opening import MongoTuning, Store
from roomcast.log.mongodb.reader import MongoReader
from roomcast.log.mongodb.revoked import MongoRevocations
from roomcast.log.mongodb.tail import MongoTail
from roomcast.log.mongodb.writer import MongoWriter
from roomcast.log.outage import HistoryChanged
from roomcast.log.trimming import EMPTY_ROOMS, position_before
from roomcast.model.errors import LogUnavailable, LogUnusable, NotOffered
from roomcast.model.message import Draft, Message
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection

P = ParamSpec("P")
T = TypeVar("T")

TUNING = MongoTuning()
_NO_RULES = (
    "A log in MongoDB is trimmed by its collection, as a whole: leave out [[room]] and --max-age, or keep the log "
    "in SQLite."
)
_NO_DELETING = "A capped collection of MongoDB deletes nothing but its oldest messages: set its caps lower."


async def open_log(
    url: str,
    rest: str,
    *,
    retention: Retention,
    new_epoch: bool = False,
    empty_rooms: int = EMPTY_ROOMS,
    tuning: MongoTuning | None = None,
    **durability: object,
) -> MongoLog:
    """Opens the log in the database that the connection string `url` names. The string's option `w` decides how
    durable the log is.

    It also succeeds while the database is away; `epoch` is then empty until the database is reached. Raises
    `LogUnusable`.

    `retention`: the caps of a new collection. `new_epoch`: begin a new epoch. `empty_rooms`: how many rooms
    without messages are remembered. `tuning`: times for tests. `rest` and `durability` are for other backends.
    """
    if retention.rooms or retention.ages:
        raise LogUnusable(_NO_RULES)
    tuning = tuning or TUNING
    # In a thread: the driver reads files to find out what machine this is.
    store = await asyncio.to_thread(Store, url, tuning.await_ms)
    log = MongoLog(store, retention, empty_rooms, tuning)
    try:
        await log.begin(new_epoch=new_epoch)
    except BaseException:
        await log.close()
        raise
    return log


class MongoLog(LocalLog):
    """The log as `open_log` returns it. It passes each call to its writer, its reader or its tail."""

    def __init__(self, store: Store, configured: Retention, empty_rooms: int, tuning: MongoTuning) -> None:
        """Takes over `store`, and closes it with the log. `configured`: the caps of a new collection."""
        super().__init__(store.name, Consumers(0, 0, self._fetch, lambda: None))
        self._store = store
        self._reader = MongoReader(store)
        self._tail = MongoTail(store, self._reader, self._consumers, configured, tuning, empty_rooms)
        self._writer = MongoWriter(store, self._reader, self._tail, tuning)
        self._revocations = MongoRevocations(store)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def epoch(self) -> str:
        """See `Log.epoch`."""
        return self._tail.epoch

    @property
    def retention(self) -> Retention:
        """The caps of the collection, which may differ from the configured ones."""
        return self._tail.retention

    @property
    def unwritable(self) -> str:
        """See `Log.unwritable`."""
        return self._writer.unwritable

    async def begin(self, *, new_epoch: bool = False) -> None:
        """Connects, begins a new epoch if `new_epoch` says so, and begins to follow the collection. Called once.
        Raises `LogUnusable`; while the database is away, only if that prevents a new epoch."""
        try:
            await self._tail.begin(new_epoch=new_epoch)
        except PyMongoError as error:
            if refusal := await self._store.diagnose(error):
                raise refusal from error
            if new_epoch or not is_away(error):
                raise LogUnusable(f"{self.name} cannot be opened: {unavailable(error).detail}") from error
            self._tail.note_outage(unavailable(error))
        except LogUnavailable as error:  # the database is reached, but cannot be used
            raise LogUnusable(error.detail) from error
        self._tasks = [
            asyncio.create_task(self._tail.run()),
            asyncio.create_task(self._tail.watch()),
        ]

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> asyncio.Future[Appended]:
        """As `Log.append`: `drafts` go into one document, together with the `idempotency` key."""
        return self._writer.append(AppendRequest(drafts, idempotency))

    async def read(self, selection: Selection, after: int, limit: int, before: int | None = None) -> Page:
        """As `Log.read`, for `selection`, `after`, `limit` and `before`. If a message of the page is trimmed while
        it is read, the page ends there."""
        return await self._read(self._page, selection, after, limit, before)

    async def get(self, seq: int) -> Message | None:
        """As `Log.get`, for the message `seq`."""
        return await self._read(self._reader.get, seq)

    async def seek_newest(self, selection: Selection, count: int, before: int | None = None) -> int:
        """As `Log.seek_newest`, for `selection`, `count` and `before`."""
        return await self._read(self._seek_newest, selection, count, before)

    async def seek_time(self, selection: Selection, since: int) -> int:
        """As `Log.seek_time`, for `selection` and `since`, in ms since 1970."""
        return await self._read(self._seek_time, selection, since)

    async def delete(self, seq: int) -> bool:
        """Raises `NotOffered` for any `seq`."""
        raise NotOffered(_NO_DELETING)

    async def delete_room(self, room: str) -> None:
        """Raises `NotOffered` for any `room`."""
        raise NotOffered(_NO_DELETING)

    async def revoke(self, revocation: Revocation) -> None:
        """As `Log.revoke`, for `revocation`."""
        await self._read(self._revocations.add, revocation)

    async def revocations(self) -> Sequence[Revocation]:
        """As `Log.revocations`: one small read each time."""
        return await self._read(self._revocations.rows)

    def prepare_rules(self, retention: Retention) -> Callable[[], None]:
        """Raises `NotOffered` if `retention` has rules for rooms or ages. The returned function does nothing."""
        if retention.rooms or retention.ages:
            raise NotOffered(_NO_RULES)
        return lambda: None

    async def bounds(self) -> Bounds:
        """As `Log.bounds`, read from the ends of the collection."""
        return await self._read(self._bounds)

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        """As `Log.rooms`, for `prefix`, `sort`, `after` and `limit`. The database counts the messages of the rooms
        on the page."""
        return await self._read(self._rooms, prefix, sort, after, limit)

    async def _close(self) -> None:
        await self._writer.end()
        await tasks.cancel(self._tasks)
        self._consumers.end()
        await self._store.close()

    async def _page(self, selection: Selection, after: int, limit: int, before: int | None) -> Page:
        names, before = await self._resolve(selection, after, before)
        page = await self._reader.page(names, after, limit, before)
        trimmed = await self._tail.find_trimmed()
        view = self._tail.view
        losses = await self._reader.losses(page, selection, names, view.rooms, trimmed, after, before)
        # A lower bound: the oldest message of these rooms comes after the trimmed ones.
        return page._replace(losses=losses, oldest=trimmed + 1) if losses else page

    async def _resolve(
        self, selection: Selection, after: int, before: int | None
    ) -> tuple[frozenset[str], int | None]:
        """Returns the rooms of a selection; of those matched by prefix, only those with messages after a position.
        Also returns the seq before which a page of them ends."""
        if not selection.prefixes:
            return selection.rooms, before
        await self._tail.catch_up()
        view = self._tail.view
        # A room that is created meanwhile is missing, so read no further than the newest message now.
        end = view.newest + 1 if before is None else min(before, view.newest + 1)
        return selection.rooms.union(view.rooms.matching(selection.prefixes, after)), end

    async def _seek_newest(self, selection: Selection, count: int, before: int | None) -> int:
        await self._tail.catch_up()
        newest = self._tail.view.newest
        end = newest if before is None else max(0, min(newest, before - 1))
        names, _ = await self._resolve(selection, 0, before)
        seq = await self._reader.seek_newest(names, count, end)
        return end if seq is None else seq - 1

    async def _seek_time(self, selection: Selection, since: int) -> int:
        before = await self._reader.last_before(since)
        trimmed = await self._tail.find_trimmed()
        if before and before.last > trimmed:
            return before.last
        known = self._tail.view.rooms
        names = selection.rooms.union(known.matching(selection.prefixes, 0))
        trimmings = await self._reader.trimmings(names, known, trimmed)
        return position_before(selection, trimmings, known.forgotten, since)

    async def _bounds(self) -> Bounds:
        oldest, newest = await self._reader.oldest(), await self._reader.newest()
        view = self._tail.view
        if oldest is None or newest is None:
            return Bounds(view.newest, view.newest, 0, 0, 0)
        view.trim(min(oldest.first - 1, view.newest))
        size = newest.bytes_before + newest.size - oldest.bytes_before
        trimmed, last = oldest.first - 1, max(newest.last, view.newest)
        return Bounds(trimmed, last, size, last - trimmed, oldest.stored_at)

    async def _rooms(
        self, prefix: str, sort: RoomSort, after: str | int | None, limit: int
    ) -> Sequence[RoomStats]:
        await self._tail.catch_up()
        trimmed = await self._tail.find_trimmed()
        found: list[RoomStats] = []
        # Rooms that are trimmed while they are counted leave space for others.
        while page := self._tail.view.rooms.page(prefix, sort, after, limit - len(found), trimmed):
            found += await self._reader.count(page)
            room, newest = next(reversed(page.items()))
            after = room if sort == "name" else newest.seq
            if len(found) == limit:
                break
        return found

    async def _fetch(self, after: int) -> Sequence[Message]:
        entries, _ = await self._read(self._reader.range, after + 1)
        return [message for entry in entries for message in entry.messages if message.seq > after]

    async def _read(self, read: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        self._check_open()
        self._tail.check()
        try:
            return await read(*args, **kwargs)
        except PyMongoError as error:
            if is_away(error):
                self._tail.note_outage(unavailable(error))
            raise unavailable(error) from error
        except HistoryChanged:
            raise self._tail.note_history_change() from None
