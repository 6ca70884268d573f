"""The log in a SQLite file: the default, for one server. Lives on the event loop; SQLite is called in threads.

One thread writes and one reads, each with its own connection and one job at a time: readers never wait for the
writer (WAL). While such a thread runs, no other thread uses its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from roomcast.log.append_queue import AppendRequest
from roomcast.log.base import Appended, Bounds, Idempotency, Page, RoomSort, RoomStats
from roomcast.log.consumers import Consumers
from roomcast.log.local import LocalLog
from roomcast.log.register import register_size
from roomcast.log.revoked import KeptRevocations, oldest_kept
from roomcast.log.sqlite.errors import FAILURES, unavailable
from roomcast.log.sqlite.group_commit import GroupCommit
from roomcast.log.sqlite.job_thread import JobThread
from roomcast.log.sqlite.opening import Opened, open_database
from roomcast.log.sqlite.queries import NO_END
from roomcast.log.sqlite.reader import Search, SqliteReader
from roomcast.log.sqlite.writer import SqliteWriter
from roomcast.log.sweep import Sweep
from roomcast.log.trimming import EMPTY_ROOMS
from roomcast.model.errors import LogUnusable
from roomcast.model.message import Draft, Message
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection

P = ParamSpec("P")
T = TypeVar("T")


async def open_log(
    url: str,
    path: str,
    *,
    retention: Retention,
    new_epoch: bool = False,
    synchronous: str = "full",
    empty_rooms: int = EMPTY_ROOMS,
    **others: object,
) -> SqliteLog:
    """Opens the log in the file `path`, or creates it. `url` is its name.

    `retention`, `new_epoch` and `synchronous` are those of `roomcast.log.open_log`; `others` are its options for
    other backends. `empty_rooms`: how many rooms without messages are remembered. Raises `LogUnusable`."""
    if not path:
        raise LogUnusable("sqlite: needs a file: use sqlite:PATH, such as sqlite:roomcast.db.")
    opened = await asyncio.to_thread(open_database, path, new_epoch=new_epoch, synchronous=synchronous)
    return SqliteLog(url, opened, retention, empty_rooms)


class SqliteLog(LocalLog):
    """A writer, a reader, a thread for each, and the consumers."""

    def __init__(self, name: str, opened: Opened, retention: Retention, empty_rooms: int) -> None:
        consumers = Consumers(opened.state.newest, opened.state.trimmed, self._fetch, self._delivered)
        super().__init__(name, consumers)
        self.epoch = opened.epoch
        self.retention = retention
        self._lock = opened.lock
        self._reader = SqliteReader(opened.reader, register_size(retention.max_messages), opened.flags)
        self._reader_thread = ThreadPoolExecutor(1, "roomcast-log-reader")
        self._writer = SqliteWriter(
            opened.writer, opened.files, opened.state, opened.clock, retention, empty_rooms, opened.flags
        )
        self._writer_thread = JobThread("roomcast-log-writer")
        self._commits = GroupCommit(self._writer, self._writer_thread, consumers, opened.state, retention)
        self._revocations = KeptRevocations(opened.revoked)
        self._sweep = Sweep(self._walk)
        self._commits.trim_later()
        self._sweep.apply(retention)

    @property
    def unwritable(self) -> str:
        """The error of the writer's last failed job, as a sentence; empty if a later job has changed the log."""
        return self._commits.unwritable

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> asyncio.Future[Appended]:
        """As in `Log`: adds `drafts`, with `idempotency`, to the next commit. Must be called on the loop."""
        return self._commits.append(AppendRequest(drafts, idempotency))

    async def read(self, selection: Selection, after: int, limit: int, before: int | None = None) -> Page:
        """As in `Log`: the first `limit` messages of `selection` with `after` < seq < `before`, and the losses."""
        return await self._search(self._reader.page(selection, after, limit, before))

    async def get(self, seq: int) -> Message | None:
        """As in `Log`: the message `seq`; None if it is not retained, or not stored yet."""
        return await self._read(self._reader.get, seq)

    async def seek_newest(self, selection: Selection, count: int, before: int | None = None) -> int:
        """As in `Log`: the position after which the newest `count` messages of `selection` below the seq `before`
        begin."""
        return await self._search(self._reader.seek_newest(selection, count, before))

    async def seek_time(self, selection: Selection, since: int) -> int:
        """As in `Log`: the position after which the messages of `selection` stored at or after `since` (ms)
        begin."""
        return await self._read(self._reader.seek_time, selection, since)

    async def bounds(self) -> Bounds:
        """As in `Log`: how far the log reaches now, as the reader sees it."""
        return await self._read(self._reader.bounds)

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        """As in `Log`: the first `limit` rooms with the `prefix`, in the order `sort`, after the room or seq
        `after`."""
        if sort == "name":
            name = None if after is None else str(after)
            return await self._read(self._reader.rooms_by_name, prefix, name, limit, bool(self.retention.rooms))
        found: list[RoomStats] = []
        before = NO_END if after is None else int(after)
        # In short pieces, so that other reads run in between: few of many rooms may have the prefix.
        while len(found) < limit and before:
            rooms, before = await self._read(
                self._reader.rooms_by_newest, prefix, before, limit - len(found), bool(self.retention.rooms)
            )
            found += rooms
        return found

    async def delete(self, seq: int) -> bool:
        """As in `Log`: deletes the message `seq`, in a transaction of its own between two groups."""
        return bool(await self._commits.do(lambda floor: self._writer.delete(seq)))

    async def delete_room(self, room: str) -> None:
        """As in `Log`: deletes all messages of `room`. Their rows are removed later, in steps."""
        await self._commits.do(lambda floor: self._writer.delete_room(room))

    async def revoke(self, revocation: Revocation) -> None:
        """As in `Log`: keeps `revocation`. Raises `TooManyRevocations`."""
        self._revocations.check(revocation)
        await self._commits.do(lambda floor: self._writer.revoke(revocation, oldest_kept()))
        self._revocations.add(revocation)

    async def revocations(self) -> Sequence[Revocation]:
        """As in `Log`: all revocations, from memory: no other process writes this database."""
        self._check_open()
        return self._revocations.rows

    def prepare_rules(self, retention: Retention) -> Callable[[], None]:
        """As in `Log`: the function that applies the rules and the age of `retention`. This backend takes all of
        them."""
        return lambda: self._set_rules(retention)

    def _set_rules(self, retention: Retention) -> None:
        self.retention = rules = self.retention._replace(rooms=retention.rooms, max_age=retention.max_age)
        # If the job fails, the writer has taken the rules all the same, and the failure is logged.
        self._commits.do(lambda floor: self._writer.set_rules(rules)).add_done_callback(asyncio.Future.exception)
        self._sweep.apply(rules)

    def _walk(self, after: str) -> None:
        walking = self._commits.do(lambda floor: self._writer.walk(after, floor))
        walking.add_done_callback(self._sweep.finished)

    async def _close(self) -> None:
        self._sweep.stop()
        await self._commits.end()
        self._consumers.end()
        try:
            await self._call(self._reader.close)
        finally:
            await asyncio.to_thread(self._release)

    def _release(self) -> None:
        self._reader_thread.shutdown()
        self._writer_thread.end()
        try:
            self._writer.close()
        finally:
            self._lock.release()

    async def _fetch(self, after: int) -> Sequence[Message]:
        return await self._read_in_thread(self._reader.fetch, after)

    def _delivered(self) -> None:
        self._commits.trim_later()

    async def _search(self, steps: Search[T]) -> T:
        """Runs a search to its end. Each step is a job of its own, so that other reads run in between."""
        while (found := await self._read(next, steps)) is None:
            pass
        return found

    async def _read(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._check_open()
        return await self._read_in_thread(read, *args, **kwargs)

    async def _read_in_thread(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `read` in the reader's thread. Raises `LogUnavailable` if the database fails."""
        try:
            return await self._call(read, *args, **kwargs)
        except FAILURES as error:
            raise unavailable(error) from error

    async def _call(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader_thread, partial(read, *args, **kwargs))
