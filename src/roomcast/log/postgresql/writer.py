"""Appends, trims and deletes: one connection, one transaction at a time. Lives on the event loop.

Laws:
- While one group is being stored the next one gathers. All waiting appends go in one transaction, and share its
  wait for the lock and the disk.
- A transaction whose answer was lost is retried with the same random number, so that it is stored once, whichever
  of the two the database sees first.
- Trimming beyond what appends do waits for a pause in publishing.
- No publish waits longer than `patience`: then it is refused, and may be stored all the same.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from roomcast import tasks
from roomcast.log import clock as machine
from roomcast.log.append_queue import Answer, Pending, Queue, Request
from roomcast.log.base import Appended
from roomcast.log.clock import Clock
from roomcast.log.consumers import Consumers
from roomcast.log.postgresql.caps import Caps
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.errors import Failure, is_forked, unavailable, unusable
from roomcast.log.postgresql.groups import Group
from roomcast.log.postgresql.queries import Row
from roomcast.log.postgresql.tail import Follower, Totals, Tuning
from roomcast.model.errors import LogUnavailable, RoomcastError

TRIM_PAUSE = 0.005
"""Seconds without a publish before a step of trimming, so that no publish waits for it."""
TRIM_AGAIN = 0.5
"""Seconds after which a step that could trim nothing is retried."""
TRIM_STEP = 200
CUT_AT = 64
"""With this many messages over rooms' rules, trimming happens even while publishes wait."""
_OVERDUE_SECONDS = 0.25

_log = logging.getLogger("roomcast.log")

Job = Callable[[], Awaitable[Any]]


class Writer:
    """This process's writer."""

    def __init__(
        self, session: Session, follower: Follower, feed: Consumers, caps: Caps, empty_rooms: int, tuning: Tuning
    ) -> None:
        self.unwritable = ""
        """Why the last write failed; empty if it succeeded."""
        self._session = session
        self._follower = follower
        self._feed = feed
        self._caps = caps
        self._clock = Clock()
        self._empty_rooms = empty_rooms
        self._tuning = tuning
        self._maybe_empty = 2 * empty_rooms + 1
        """How many rooms may be empty. The first count comes soon."""
        self._queue = Queue("The log is behind: its database is slower than what is published.")
        self._group: Sequence[Pending] = ()
        self._jobs: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        """Jobs other than appends."""
        self._more = True
        """Whether there may be more to be trimmed."""
        self._wanted = asyncio.Event()
        self._trim_timer: asyncio.TimerHandle | None = None
        self._trim_due = False
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._refuse_overdue())]

    def append(self, request: Request) -> asyncio.Future[Appended]:
        pending = Pending.of(request)
        try:
            if self._ending:
                raise LogUnavailable("The log is closed.")
            self._queue.add(pending)
        except LogUnavailable as error:
            pending.resolve(error)
            return pending.answer
        self._wanted.set()
        return pending.answer

    def do(self, job: Job) -> asyncio.Future[Any]:
        """Runs a job between two groups."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._ending:
            done.set_exception(LogUnavailable("The log is closed."))
            return done
        self._jobs.append((job, done))
        self._wanted.set()
        return done

    def trim_later(self) -> None:
        """Schedules a step of trimming after a pause in publishing, if anything may be trimmed."""
        self._trim_after(TRIM_PAUSE)

    def trim_soon(self) -> None:
        """There may be more to trim. Unlike `trim_later` this does not postpone a scheduled step."""
        self._more = True
        soon = asyncio.get_running_loop().time() + TRIM_PAUSE
        if self._trim_timer is None or self._trim_timer.when() > soon:
            self.trim_later()

    async def end(self) -> None:
        """Accepts no more appends, and waits for those under way."""
        self._ending = True
        if self._trim_timer:
            self._trim_timer.cancel()
        self._wanted.set()
        if self._tasks:
            await asyncio.wait(self._tasks[:1])
            await tasks.cancel(self._tasks)

    def _trim_after(self, seconds: float) -> None:
        if self._trim_timer:
            self._trim_timer.cancel()
            self._trim_timer = None
        if not self._ending and (self._more or self._caps.over):
            self._trim_timer = asyncio.get_running_loop().call_later(seconds, self._trim_now)

    def _trim_now(self) -> None:
        self._trim_timer = None
        self._trim_due = True
        self._wanted.set()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while len(self._queue) or self._jobs or self._trim_due:
                await self._next()
            if self._ending:
                return

    async def _next(self) -> None:
        """One group, then one job, so that neither kind waits for all of the other."""
        if group := self._queue.take_group():
            self._group = group
            await self._commit(Group(group, self._caps.retention, self._caps.rules))
            self._group = ()
        if self._jobs:
            job, done = self._jobs.popleft()
            await self._do(job, done)
        elif self._trim_due and (not len(self._queue) or self._caps.due >= CUT_AT):
            self._trim_due = False
            await self._try_to_trim()
        elif self._trim_due:  # when it is quiet again
            self._trim_due = False
            self.trim_later()

    async def _commit(self, group: Group) -> None:
        """Stores a group, with as many tries as it takes."""
        nonce = secrets.randbits(63)
        parameters = group.parameters()
        while any(not one.answer.done() for one in group.pending):
            try:
                self._follower.check()
                row = await self._session.row("append", *self.values(nonce, parameters))
            except RoomcastError as error:
                await self._wait(error)
            except Failure as error:
                self._failed(error)
                if not _passes(error):
                    for one in group.pending:
                        one.resolve(unavailable(error))
                    return
                await self._wait(unavailable(error))
            else:
                answers = self.committed(group, nonce, row)
                for one, answer in zip(group.pending, answers, strict=True):
                    one.resolve(answer)
                return

    def values(self, nonce: int, parameters: Sequence[object]) -> Sequence[object]:
        """All arguments of `append` for a group."""
        most = self._caps.retention
        return (
            self._follower.epoch,
            *self._follower.anchor,
            nonce,
            _now(),
            self._follower.server,
            *parameters,
            self._feed.floor,
            most.max_messages,
            most.max_bytes,
            self._caps.oldest_at(_now()),
            self._forgets(),
        )

    def committed(self, group: Group, nonce: int, row: Row) -> Sequence[Answer]:
        """The group is in the log, `row` is the result of `append`: feeds it, and returns the answers."""
        self._recovered()
        before = self._follower.totals
        stored, answers = group.answers(row)
        if stored:
            self._clock.now(row["stored_at"])  # it logs if our clock is behind
        totals = _totals(row)
        self._note_gone(before.messages + len(stored) - totals.messages)
        # If the first answer was lost, some messages may be gone already, so the group is read and not fed.
        self._follower.stored(stored, nonce, totals, fed=not row["again"])
        if stored:
            self._caps.learn(row, len(stored))
            retention = self._caps.retention
            over = totals.messages > retention.max_messages or totals.bytes > retention.max_bytes
            self._more = self._more or over
        self.trim_later()
        return answers

    async def _do(self, job: Job, done: asyncio.Future[Any]) -> None:
        """Tries once: the caller can retry."""
        try:
            self._follower.check()
            result = await job()
        except RoomcastError as error:
            self._refuse(done, error)
        except Failure as error:
            self._failed(error)
            self._refuse(done, unavailable(error))
        else:
            self._recovered()
            if not done.done():
                done.set_result(result)

    def _refuse(self, done: asyncio.Future[Any], error: RoomcastError) -> None:
        if not done.done():
            done.set_exception(error)

    async def _try_to_trim(self) -> None:
        try:
            self._follower.check()
            await self._trim()
        except RoomcastError:
            self._trim_after(TRIM_AGAIN)
        except Failure as error:
            self._failed(error)
            self._trim_after(TRIM_AGAIN)

    async def _trim(self) -> None:
        """One step."""
        before, rules, retention, now = self._follower.totals, self._caps.rules, self._caps.retention, _now()
        rooms = list(self._caps.over)[:TRIM_STEP]
        self._caps.due = 0
        caps = self._caps.of(rooms, now)
        row = await self._session.row(
            "trim",
            self._follower.epoch,
            *self._follower.anchor,
            self._follower.server,
            self._feed.floor,
            retention.max_messages,
            retention.max_bytes,
            self._caps.oldest_at(now),
            TRIM_STEP,
            self._forgets(),
            *caps,
        )
        totals = _totals(row)
        if rules is self._caps.rules:
            for room in set(rooms).difference(row["still_over"]):
                self._caps.over.pop(room, None)
        self._more = row["more"]
        self._note_gone(before.messages - totals.messages)
        progressed = totals != before
        self._follower.trimmed(totals._replace(changes=before.changes))
        if totals.changes > before.changes:
            self._follower.wake()  # which reads, and feeds, what was cut; and tells the others
            self._follower.tell()
        # A step that could trim nothing waits for the consumers. Ours report progress; those of other servers do
        # not, so retry.
        self._trim_after(TRIM_PAUSE if progressed else TRIM_AGAIN)

    def _forgets(self) -> int:
        """How many empty rooms to keep if it is time to forget others; otherwise -1."""
        if self._maybe_empty <= self._empty_rooms + self._empty_rooms // 10:
            return -1
        self._maybe_empty = self._empty_rooms
        return self._empty_rooms

    def _note_gone(self, messages: int) -> None:
        self._maybe_empty += max(0, messages)

    def _failed(self, error: BaseException) -> None:
        if is_forked(error):
            self._follower.fork()
        else:
            self._follower.wake()
            self._say(unavailable(error).detail)

    async def _wait(self, error: RoomcastError) -> None:
        self._say(error.detail)
        await asyncio.sleep(self._tuning.retry_seconds)

    def _say(self, why: str) -> None:
        if not self.unwritable:
            _log.warning("publishing waits; once the database takes writes, it goes on by itself: %s", why)
        self.unwritable = why

    def _recovered(self) -> None:
        if self.unwritable:
            self.unwritable = ""
            _log.warning("publishing goes on: nothing is left to do")

    async def _refuse_overdue(self) -> None:
        """Refuses appends that waited too long. One that was already sent may be stored all the same."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_OVERDUE_SECONDS, self._tuning.patience / 4))
            before = loop.time() - self._tuning.patience
            overdue = [*self._queue.overdue(before), *(p for p in self._group if p.since < before)]
            for pending in overdue:
                pending.resolve(LogUnavailable(self.unwritable or "The database takes too long."))


def _passes(error: BaseException) -> bool:
    """Whether a retry may help: not if the database rejects the statement."""
    return is_forked(error) or unusable("", error) is None


def _totals(row: Row) -> Totals:
    return Totals(row["trimmed"], row["messages"], row["bytes"], row["changes"])


def _now() -> int:
    """The time in ms."""
    return machine.clock() // 1_000_000
