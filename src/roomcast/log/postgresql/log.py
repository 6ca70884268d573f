"""The log in PostgreSQL: one log for any number of servers. Lives on the event loop.

Laws:
- The lock on one row orders all appends: it keeps `seq` dense, and `prev`, times, counts and keys exact over all
  servers.
- Each server appends, trims and deletes with one connection, follows with another one, and reads history and keeps
  revocations with a third.
- While the database is away only publishes, and deletes queued behind them, wait for it, for a bounded time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from roomcast import tasks
from roomcast.log.append_queue import AppendRequest
from roomcast.log.base import Appended, Bounds, Idempotency, Page, RoomSort, RoomStats
from roomcast.log.clock import now_ms
from roomcast.log.consumers import Consumers
from roomcast.log.local import LocalLog
from roomcast.log.postgresql.caps import PostgresCaps
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.errors import FORM, Failure, error_text, unavailable, unusable
from roomcast.log.postgresql.outbox import Outbox
from roomcast.log.postgresql.reader import PostgresReader
from roomcast.log.postgresql.revoked import PostgresRevocations
from roomcast.log.postgresql.tail import PostgresTail
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.log.postgresql.writer import PostgresWriter
from roomcast.log.register import register_size
from roomcast.log.sweep import Sweep
from roomcast.log.trimming import EMPTY_ROOMS
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.message import Draft, Message
from roomcast.model.redact import redacted_url
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection

T = TypeVar("T")

_WALK_ROOMS = 1_000
"""How many rooms one step of a walk examines."""
_TUNING = PostgresTuning()


async def open_log(
    url: str,
    rest: str,
    *,
    retention: Retention,
    new_epoch: bool = False,
    empty_rooms: int = EMPTY_ROOMS,
    tuning: PostgresTuning | None = None,
    max_message: int = 64_000,
    **durability: object,
) -> PostgresLog:
    """Opens the log in the schema `roomcast` of the database that the connection string `url` names. The
    database's `synchronous_commit` decides how durable the log is.

    It also succeeds while the database is away; `epoch` is then empty until the database is reached. Raises
    `LogUnusable`.

    `rest`: `url` after the first colon. `retention`: the caps, rules and age. `new_epoch`: begin a new epoch.
    `empty_rooms`: how many rooms without messages are remembered. `tuning`: times for tests. `max_message`: the
    most bytes of a message that is published in SQL. `durability` is for other backends.
    """
    if not rest.startswith("//"):  # the driver would take all of it for a database name
        raise LogUnusable(f"{redacted_url(url)!r} is not a connection string: use {FORM}.")
    log = PostgresLog(url, retention, empty_rooms, tuning or _TUNING, max_message)
    try:
        await log.begin(new_epoch=new_epoch)
    except BaseException:
        await log.close()
        raise
    return log


class PostgresLog(LocalLog):
    """The log as `open_log` returns it. It passes each call to its writer, its reader or its tail, each with a
    connection of its own."""

    def __init__(
        self, url: str, retention: Retention, empty_rooms: int, tuning: PostgresTuning, max_message: int
    ) -> None:
        super().__init__(redacted_url(url), Consumers(0, 0, self._fetch, self._delivered))
        self._caps = PostgresCaps(retention)
        self._sessions = [Session(url, on_notification=self._notified), Session(url), Session(url)]
        following, writing, reading = self._sessions
        registered = register_size(retention.max_messages)
        self._tail = PostgresTail(self.name, following, self._consumers, tuning, max_message, registered)
        self._reader = PostgresReader(reading, self._tail, registered)
        self._revocations = PostgresRevocations(reading)
        self._writer = PostgresWriter(writing, self._tail, self._consumers, self._caps, empty_rooms, tuning)
        self._writing, self._reading = writing, reading
        self._outbox = Outbox(writing, self._writer, self._caps, max_message)
        self._tail.on_outbox = self._outbox.move_soon
        self._sweep = Sweep(self._begin_walk)
        self._walking: asyncio.Task[str | None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def epoch(self) -> str:
        """See `Log.epoch`."""
        return self._tail.epoch

    @property
    def retention(self) -> Retention:
        """The caps, rules and age in force on this server."""
        return self._caps.retention

    @property
    def unwritable(self) -> str:
        """See `Log.unwritable`."""
        return self._writer.unwritable

    async def begin(self, *, new_epoch: bool = False) -> None:
        """Connects, begins a new epoch if `new_epoch` says so, and starts the tasks. Called once. Raises
        `LogUnusable`; while the database is away, only if that prevents a new epoch."""
        try:
            await self._tail.begin(new_epoch=new_epoch)
        except LogUnavailable as error:
            if new_epoch:
                raise LogUnusable(f"{self.name} cannot be opened: {error.detail}") from error
            self._tail.note_outage(error)
        except (*Failure, ValueError) as error:
            if refusal := unusable(self.name, error):
                raise refusal from error
            if new_epoch:
                raise LogUnusable(f"{self.name} cannot be opened: {error_text(error)}.") from error
            self._tail.note_outage(unavailable(error))
        self._tasks = [asyncio.create_task(self._tail.run())]
        self._writer.begin()
        self._sweep.apply(self.retention)

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> asyncio.Future[Appended]:
        """As `Log.append`: `drafts` and their `idempotency` key go with the next transaction."""
        return self._writer.append(AppendRequest(drafts, idempotency))

    async def read(self, selection: Selection, after: int, limit: int, before: int | None = None) -> Page:
        """As `Log.read`, for `selection`, `after`, `limit` and `before`."""
        return await self._read(self._reader.page(selection, after, limit, before))

    async def get(self, seq: int) -> Message | None:
        """As `Log.get`, for the message `seq`."""
        return await self._read(self._reader.get(seq))

    async def seek_newest(self, selection: Selection, count: int, before: int | None = None) -> int:
        """As `Log.seek_newest`, for `selection`, `count` and `before`."""
        return await self._read(self._reader.seek_newest(selection, count, before))

    async def seek_time(self, selection: Selection, since: int) -> int:
        """As `Log.seek_time`, for `selection` and `since`, in ms since 1970."""
        return await self._read(self._reader.seek_time(selection, since))

    async def delete(self, seq: int) -> bool:
        """As `Log.delete`, for the message `seq`. This server's consumers are told before this returns."""
        return bool(await self._delete("delete_message", seq))

    async def delete_room(self, room: str) -> None:
        """As `Log.delete_room`, for `room`. This server's consumers are told before this returns."""
        await self._delete("delete_room", room, rooms=1)

    async def revoke(self, revocation: Revocation) -> None:
        """As `Log.revoke`, for `revocation`."""
        await self._read(self._revocations.add(revocation))

    async def revocations(self) -> Sequence[Revocation]:
        """As `Log.revocations`: one small read each time."""
        return await self._read(self._revocations.rows())

    def prepare_rules(self, retention: Retention) -> Callable[[], None]:
        """As `Log.prepare_rules`, for the rules and the age of `retention`, on this server only."""
        return lambda: self._apply_rules(retention)

    @property
    def outbox_moved(self) -> int:
        """See `HasOutbox.outbox_moved`."""
        return self._outbox.moved

    @property
    def outbox_refused(self) -> int:
        """See `HasOutbox.outbox_refused`."""
        return self._outbox.refused

    async def bounds(self) -> Bounds:
        """As `Log.bounds`, up to the newest durable message."""
        return await self._read(self._reader.bounds())

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        """As `Log.rooms`, for `prefix`, `sort`, `after` and `limit`."""
        return await self._read(self._reader.rooms(prefix, sort, after, limit, ruled=bool(self.retention.rooms)))

    async def _close(self) -> None:
        self._sweep.stop()
        await self._writer.end()
        await tasks.cancel(self._tasks)
        self._consumers.end()
        await self._tail.close()
        await asyncio.gather(*(session.close() for session in self._sessions))

    async def _delete(self, query: str, what: int | str, *, rooms: int = 0) -> bool:
        """Deletes `what` with `query`. Returns whether it was there. `rooms`: how many rooms that empties."""

        async def job() -> bool:
            row = await self._writing.row(query, self._tail.epoch, *self._tail.anchor, what)
            return bool(row["found"])

        found: bool = await self._writer.submit(job)
        if found:
            self._writer.trimmer.request(rooms)  # the rows of a room go in steps
            self._tail.notifier.notify()
            await self._read(self._tail.catch_up())  # so that it is gone on this server before the answer
        return found

    def _apply_rules(self, retention: Retention) -> None:
        self._caps.apply(retention)
        self._sweep.apply(self.retention)

    def _begin_walk(self, after: str) -> None:
        self._walking = asyncio.create_task(self._read(self._walk_step(after)))
        self._walking.add_done_callback(self._sweep.finished)

    async def _walk_step(self, after: str) -> str | None:
        """Makes one step of a walk over all rooms, after the name `after`: finds messages that are too old or
        exceed new rules although nothing is published. Returns the last name of the step; None at the end."""
        rows: Sequence[Any] = ()
        if self._caps.rules.rules:
            rows = await self._reading.rows("walk_rooms", after, _WALK_ROOMS)
            self._caps.note_walk(rows, now_ms())
        self._writer.trimmer.request()
        return rows[-1]["room"] if rows else None

    def _notified(self, payload: str) -> None:
        self._tail.wake(payload)

    def _delivered(self) -> None:
        self._writer.trimmer.schedule_after_pause()

    async def _fetch(self, after: int) -> Sequence[Message]:
        return await self._read(self._reader.fetch(after))

    async def _read(self, reading: Coroutine[Any, Any, T]) -> T:
        """The result of `reading`, which goes on if its caller is cancelled: cancelling it would close its
        connection."""
        try:
            self._check_open()
            self._tail.check()
        except LogUnavailable:
            reading.close()
            raise
        task = asyncio.create_task(reading)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_retrieve_exception)
            raise
        except Failure as error:
            self._tail.wake()
            raise unavailable(error) from error


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Retrieves a task's exception, so that asyncio does not log it as never retrieved."""
    if not task.cancelled():
        task.exception()
