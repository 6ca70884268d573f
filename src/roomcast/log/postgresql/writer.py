"""Appends, trims and deletes: one connection, one transaction at a time. Lives on the event loop.

Laws:
- While one group is on its way the next gathers; all that waits goes in one transaction, and shares its wait for
  the lock and for the disk.
- A transaction whose answer was lost is asked for again with the same random number, so that it is stored once,
  whichever of the two the database sees first.
- Trimming beyond what appends do by themselves waits for quiet.
- Nobody waits longer than `patience`: then a publish is refused, and may be stored all the same.
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
"""Seconds of quiet before a step of trimming, so that it falls between publishes and not before one."""
TRIM_AGAIN = 0.5
"""Seconds after which a step is tried again that could do nothing."""
TRIM_STEP = 200
CUT_AT = 64
"""So many messages beyond rooms' rules are trimmed also while publishes wait."""
_OVERDUE_SECONDS = 0.25

_log = logging.getLogger("roomcast.log")

Job = Callable[[], Awaitable[Any]]


class Writer:
    """The one that writes, of this process."""

    def __init__(
        self, session: Session, follower: Follower, feed: Consumers, caps: Caps, empty_rooms: int, tuning: Tuning
    ) -> None:
        self.unwritable = ""
        """Why the last write failed; empty where it did not."""
        self._session = session
        self._follower = follower
        self._feed = feed
        self._caps = caps
        self._clock = Clock()
        self._empty_rooms = empty_rooms
        self._tuning = tuning
        self._maybe_empty = 2 * empty_rooms + 1
        """How many rooms may be empty; so many at first that they are counted soon."""
        self._queue = Queue("The log is behind: its database is slower than what is published.")
        self._group: Sequence[Pending] = ()
        self._jobs: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        """What is to be done beside appends."""
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
        """Has something done between two groups."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._ending:
            done.set_exception(LogUnavailable("The log is closed."))
            return done
        self._jobs.append((job, done))
        self._wanted.set()
        return done

    def trim_later(self) -> None:
        """Asks for a step of trimming after a moment of quiet, where there is anything that may be trimmed."""
        self._trim_after(TRIM_PAUSE)

    def trim_soon(self) -> None:
        """There may be more to be trimmed. Unlike `trim_later` it does not put off a step that is due."""
        self._more = True
        soon = asyncio.get_running_loop().time() + TRIM_PAUSE
        if self._trim_timer is None or self._trim_timer.when() > soon:
            self.trim_later()

    async def end(self) -> None:
        """Takes no more, and waits for what is under way."""
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
        """A group, and something else after it, so that neither waits for all of the other."""
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
        """Stores a group, however often that has to be tried."""
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
        """All that `append` is given for a group."""
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
        """What `append` gave is in the log: feeds it, and gives the answers."""
        self._recovered()
        before = self._follower.totals
        stored, answers = group.answers(row)
        if stored:
            self._clock.now(row["stored_at"])  # which says so where it is behind
        totals = _totals(row)
        self._note_gone(before.messages + len(stored) - totals.messages)
        # Of one whose first answer was lost, some may be gone already: it is read.
        self._follower.stored(stored, nonce, totals, fed=not row["again"])
        if stored:
            self._caps.learn(row, len(stored))
            retention = self._caps.retention
            over = totals.messages > retention.max_messages or totals.bytes > retention.max_bytes
            self._more = self._more or over
        self.trim_later()
        return answers

    async def _do(self, job: Job, done: asyncio.Future[Any]) -> None:
        """Once: what asks can ask again."""
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
        # A step that could do nothing waits for the consumers, who say when they have come further; those of other
        # servers do not.
        self._trim_after(TRIM_PAUSE if progressed else TRIM_AGAIN)

    def _forgets(self) -> int:
        """How many empty rooms are kept, where it is time to forget others; -1 where it is not."""
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
            _log.warning("publishing waits: %s", why)
        self.unwritable = why

    def _recovered(self) -> None:
        if self.unwritable:
            self.unwritable = ""
            _log.warning("publishing goes on")

    async def _refuse_overdue(self) -> None:
        """A write that is out by then may be stored all the same."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_OVERDUE_SECONDS, self._tuning.patience / 4))
            before = loop.time() - self._tuning.patience
            overdue = [*self._queue.overdue(before), *(p for p in self._group if p.since < before)]
            for pending in overdue:
                pending.resolve(LogUnavailable(self.unwritable or "The database takes too long."))


def _passes(error: BaseException) -> bool:
    """Whether trying again may help: not where the database refuses what it was asked."""
    return is_forked(error) or unusable("", error) is None


def _totals(row: Row) -> Totals:
    return Totals(row["trimmed"], row["messages"], row["bytes"], row["changes"])


def _now() -> int:
    """The time in ms."""
    return machine.clock() // 1_000_000
