"""Appends, trims and deletes: one connection, one transaction at a time. Lives on the event loop.

Laws:
- While one group of appends is being stored, the next group gathers. All appends of a group go in one transaction,
  and share its wait for the lock and the disk.
- No server waits for the disk while another one waits for the lock (see the table `synced` in schema.sql).
- A transaction whose answer was lost is retried with the same random number, so that it is stored once, whichever
  of the two the database sees first.
- Trimming beyond what appends do waits for a pause in publishing.
- No publish waits longer than `patience`. After that it is refused, although it may still be stored.
- An unexpected error fails only its group or job. The writer goes on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from roomcast import tasks
from roomcast.log.append_queue import AppendAnswer, AppendQueue, AppendRequest, PendingAppend
from roomcast.log.base import Appended
from roomcast.log.clock import Clock, now_ms
from roomcast.log.consumers import Consumers
from roomcast.log.outage import HISTORY_CHANGED
from roomcast.log.postgresql.caps import PostgresCaps
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.errors import Failure, is_another_history, unavailable, unusable
from roomcast.log.postgresql.groups import AppendGroup
from roomcast.log.postgresql.queries import Row, totals_of
from roomcast.log.postgresql.tail import PostgresTail
from roomcast.log.postgresql.trimmer import RETRY, Trimmer
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.model.errors import LogUnavailable, RoomcastError

_OVERDUE_SECONDS = 0.25
"""Seconds between two checks for publishes that have waited too long."""

_GATHERING_TURNS = 4
"""Turns of the loop between a commit and the next group. Clients that were just answered send their next publishes
meanwhile, and go with those that waited. Otherwise a server's clients can split into two groups that take turns;
beside servers whose clients go together, that server gets only 0.83 of its share."""
_SEE_LOG = "see the server's log"
"""The error text after a defect of our own code, whose traceback is logged."""

_log = logging.getLogger("roomcast.log")

Job = Callable[[], Awaitable[Any]]


class PostgresWriter:
    """The one writer of this process."""

    def __init__(
        self,
        session: Session,
        tail: PostgresTail,
        consumers: Consumers,
        caps: PostgresCaps,
        empty_rooms: int,
        tuning: PostgresTuning,
    ) -> None:
        """`empty_rooms`: how many rooms without messages are remembered."""
        self.unwritable = ""
        """The error of the last failed write; empty if an append or a job has succeeded since."""
        self._session = session
        self._tail = tail
        self._consumers = consumers
        self._caps = caps
        self._clock = Clock()
        self._tuning = tuning
        self._queue = AppendQueue("The log is behind: its database is slower than what is published.")
        self._group: Sequence[PendingAppend] = ()
        """The appends that are being stored."""
        self._jobs: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        """Jobs other than appends."""
        self._has_work = asyncio.Event()
        """Set when there is something to do."""
        self.trimmer = Trimmer(session, tail, consumers, caps, empty_rooms, self._has_work.set)
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Starts the writer's tasks."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._refuse_overdue())]
        self.trimmer.schedule_after_pause()

    def append(self, request: AppendRequest) -> asyncio.Future[Appended]:
        """Stores the messages of `request` with the next group. The future fails as that of `Log.append`: with
        `TooLarge`, with `KeyReused`, or with `LogUnavailable` after `patience` seconds, if the queue is full or if
        the log is closed."""
        pending = PendingAppend.for_request(request)
        try:
            if self._ending:
                raise LogUnavailable("The log is closed.")
            self._queue.add(pending)
        except LogUnavailable as error:
            pending.resolve(error)
            return pending.answer
        self._has_work.set()
        return pending.answer

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Runs `job` between two groups, once. The future has its result, or fails with a `RoomcastError`, which
        is `LogUnavailable` if the log is closed or the database is away."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._ending:
            done.set_exception(LogUnavailable("The log is closed."))
            return done
        self._jobs.append((job, done))
        self._has_work.set()
        return done

    async def end(self) -> None:
        """Accepts no more appends, and waits for those under way."""
        self._ending = True
        self.trimmer.stop()
        self._has_work.set()
        if self._tasks:
            await asyncio.wait(self._tasks[:1])
            await tasks.cancel(self._tasks)

    def append_arguments(self, nonce: int, parameters: Sequence[object]) -> Sequence[object]:
        """All arguments of the query `append`. `nonce`: the random number of this append, the same for each
        attempt. `parameters`: those of its group."""
        now = now_ms()
        retention = self._caps.retention
        return (
            self._tail.epoch,
            *self._tail.anchor,
            nonce,
            now,
            self._tail.presence.server,
            *parameters,
            self._consumers.floor,
            retention.max_messages,
            retention.max_bytes,
            self._caps.oldest_at(now),
            self.trimmer.next_rooms_to_keep(),
            self._tail.alone,
        )

    async def sync(self, row: Row) -> None:
        """Waits until the append whose result is `row` is on the disk. Raises `LogUnavailable` if the log does not
        have it any more, and what the driver raises."""
        if not row["synced"]:
            names = (self._tail.presence.server, self._tail.epoch)
            synced = await self._session.row("sync", *names, row["newest"], row["nonce"])
            if not synced["found"]:
                raise LogUnavailable(HISTORY_CHANGED)

    def note_commit(self, group: AppendGroup, nonce: int, row: Row) -> Sequence[AppendAnswer]:
        """Notes that `group` is durable in the log under `nonce`, and pushes its messages. `row`: the result of
        the query `append`. Returns the answers to the group's appends, in their order."""
        self._recovered()
        before, totals = self._tail.totals, totals_of(row)
        stored, answers = group.answers(row)
        # If the first answer was lost, some messages may be gone already, so the group is read and not pushed.
        self._tail.note_append(stored, nonce, totals, push=not row["again"])
        self.trimmer.note_append(before, totals, len(stored))
        if stored:
            self._clock.now(row["stored_at"])  # logs a warning if our clock is behind
            self._caps.note_append(row, len(stored))
        self.trimmer.schedule_after_pause()
        return answers

    async def _run(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while len(self._queue) or self._jobs or self.trimmer.due:
                await self._run_next()
            if self._ending:
                return

    async def _run_next(self) -> None:
        """Stores one group, then runs one job, so that neither kind waits for all of the other."""
        if pending := self._queue.take_group():
            await self._store_group(pending)
            await _pass_turns(_GATHERING_TURNS)
        if self._jobs:
            await self._run_job(*self._jobs.popleft())
        elif self.trimmer.due and (not len(self._queue) or self.trimmer.urgent):
            await self._trim()
        elif self.trimmer.due:
            self.trimmer.schedule_after_pause()

    async def _store_group(self, pending: Sequence[PendingAppend]) -> None:
        self._group = pending
        try:
            await self._commit(AppendGroup(pending, self._caps.retention, self._caps.rules))
        except Exception:
            _log.exception("a group of publishes failed")
            for one in pending:
                one.resolve(RoomcastError(_SEE_LOG))
        self._group = ()

    async def _commit(self, group: AppendGroup) -> None:
        """Stores a group, with as many attempts as it takes."""
        nonce = secrets.randbits(63)
        parameters = group.parameters()
        while any(not one.answer.done() for one in group.pending):
            try:
                row = await self._store(nonce, parameters)
            except RoomcastError as error:
                await self._wait(error)
            except Failure as error:
                self._failed(error)
                if not _may_pass(error):
                    group.refuse(unavailable(error))
                    return
                await self._wait(unavailable(error))
            else:
                for one, answer in zip(group.pending, self.note_commit(group, nonce, row), strict=True):
                    one.resolve(answer)
                return

    async def _store(self, nonce: int, parameters: Sequence[object]) -> Row:
        self._tail.check()
        row = await self._session.row("append", *self.append_arguments(nonce, parameters))
        await self.sync(row)
        return row

    async def _run_job(self, job: Job, done: asyncio.Future[Any]) -> None:
        try:
            self._tail.check()
            result = await job()
        except RoomcastError as error:
            _refuse(done, error)
        except Failure as error:
            self._failed(error)
            _refuse(done, unavailable(error))
        except Exception:
            _log.exception("a job of the writer failed")
            _refuse(done, RoomcastError(_SEE_LOG))
        else:
            self._recovered()
            if not done.done():
                done.set_result(result)

    async def _trim(self) -> None:
        try:
            self._tail.check()
            await self.trimmer.step()
        except RoomcastError:
            self.trimmer.schedule(RETRY)
        except Failure as error:
            self._failed(error)
            self.trimmer.schedule(RETRY)
        except Exception:
            _log.exception("a step of trimming failed")
            self.trimmer.schedule(RETRY)
        else:
            self._recovered()

    def _failed(self, error: BaseException) -> None:
        if is_another_history(error):
            self._tail.note_history_change()
        else:
            self._tail.wake()
            self._log_wait(unavailable(error).detail)

    async def _wait(self, error: RoomcastError) -> None:
        self._log_wait(error.detail)
        await asyncio.sleep(self._tuning.retry_seconds)

    def _log_wait(self, why: str) -> None:
        if not self.unwritable:
            _log.warning("publishing waits; once the database takes writes, it goes on by itself: %s", why)
        self.unwritable = why

    def _recovered(self) -> None:
        if self.unwritable:
            self.unwritable = ""
            _log.warning("publishing goes on: nothing is left to do")

    async def _refuse_overdue(self) -> None:
        """Refuses appends that waited too long. An append that was already sent may still be stored."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_OVERDUE_SECONDS, self._tuning.patience / 4))
            before = loop.time() - self._tuning.patience
            overdue = [*self._queue.overdue(before), *(p for p in self._group if p.since < before)]
            for pending in overdue:
                pending.resolve(LogUnavailable(self.unwritable or "The database takes too long."))


async def _pass_turns(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


def _refuse(done: asyncio.Future[Any], error: RoomcastError) -> None:
    if not done.done():
        done.set_exception(error)


def _may_pass(error: BaseException) -> bool:
    """Whether a retry may help: not if the database rejects the statement."""
    return is_another_history(error) or unusable("", error) is None
