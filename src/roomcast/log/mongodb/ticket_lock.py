"""Decides which of several processes writes next: each one takes a ticket, and waits for the tickets before it.

Laws:
- The lock is only advice: the unique index on `_id` decides what is stored. If a ticket is lost, skipped or taken
  twice, or if a process ignores the lock, only time is lost.
- A process that writes alone takes no tickets. It checks now and then whether another one waits.
- No process waits long for one that has stopped.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from bson import Int64
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from roomcast.log.mongodb.opening import Collection, Store

_COUNTER = {"_id": "turn"}
_ALONE = 16
"""After this many turns in which it saw no other process, a process takes no more tickets. From then on it looks
for others once in this many writes."""
_SHORTEST_SECONDS = 0.02
_LONGEST_SECONDS = 0.25
"""If there is more to write, a turn goes on after its first write for as long as that write took, within these
bounds. So changing turns takes about half of the time, however slow it is, and no process waits for long."""
_POLL_SECONDS = 0.005
"""Seconds between two reads of the counter, times the number of processes before us."""
_LONGEST_POLL_SECONDS = 0.1
_STALE_SECONDS = 1.0
_STALE_TURNS = 4
"""A turn is skipped once it takes longer than both this time and this many of our own turns: its process is then
assumed dead."""


class TicketCounter(NamedTuple):
    """The document that all processes share."""

    taken: int = 0
    """The last ticket that was taken."""
    served: int = 0
    """The last ticket whose turn is over."""
    newest: int = 0
    """How far the log reached after the last turn."""


class TicketLock:
    """The lock as one process uses it."""

    def __init__(self, store: Store) -> None:
        """`store`: the log whose writers the lock orders."""
        # The loss of the counter in a failover does no harm, so writes need not be confirmed by a majority.
        self._metadata: Collection = store.metadata.with_options(
            write_concern=WriteConcern(1), read_concern=ReadConcern("local")
        )
        self._queueing = False
        """Whether this process takes tickets, because others write as well."""
        self._ticket = 0
        """Our last ticket."""
        self._waiting = False
        """Whether we have a ticket whose turn is not over."""
        self._held = False
        """Whether it is our turn."""
        self._turns_alone = 0
        """How many of our turns, or writes without a ticket, have passed since another process was seen."""
        self._began_at = 0.0
        """When our turn began, or when another process last wrote during it."""
        self._ends_at = 0.0
        """When our turn ends, on the loop's clock; 0 before its first write."""
        self._took = 0.0
        """How many seconds our last turn took; a busy database makes turns longer for all."""

    def start_queueing(self) -> None:
        """Makes this process take tickets from now on. Called when another process was faster repeatedly."""
        self._queueing, self._turns_alone = True, 0
        self._began_at = _time()

    async def acquire(self) -> int:
        """Waits for our turn, or not at all while this process takes no tickets. Returns the newest seq in the log
        after the turn before ours; 0 if no other process had a turn since our last one, or if this call took no
        new turn. Raises `PyMongoError`, and can be called again after that."""
        if not self._queueing or self._held:
            return 0
        before = self._ticket
        counter = await self._take() if not self._waiting else await self._look()
        counter = await self._wait(counter)
        self._held, self._began_at, self._ends_at = True, _time(), 0.0
        if self._ticket == before + 1:
            return 0
        self._turns_alone = 0
        return counter.newest

    def may_continue(self) -> bool:
        """Whether our turn goes on after a write that has just ended. If not, call `release`."""
        if not self._held:
            return False
        now = _time()
        if not self._ends_at:
            self._ends_at = now + min(max(now - self._began_at, _SHORTEST_SECONDS), _LONGEST_SECONDS)
        return now < self._ends_at

    async def release(self, newest: int) -> None:
        """Ends our turn, or a write without a ticket. `newest`: the newest seq in the log, for the next process.
        Raises `PyMongoError`."""
        self._turns_alone += 1
        if self._waiting:
            self._waiting = self._held = False
            self._took = _time() - self._began_at
            self._queueing = self._turns_alone < _ALONE
            await self._update({"$max": {"served": Int64(self._ticket)}, "$set": {"newest": Int64(newest)}})
        elif self._turns_alone >= _ALONE:
            self._turns_alone = 0
            counter = await self._look()
            self._queueing = counter.taken > counter.served

    async def _take(self) -> TicketCounter:
        counter = await self._update({"$inc": {"taken": Int64(1)}})
        self._ticket, self._waiting = counter.taken, True
        return counter

    async def _wait(self, counter: TicketCounter) -> TicketCounter:
        moved, patience = _time(), max(_STALE_SECONDS, _STALE_TURNS * self._took)
        while (before := self._ticket - 1 - counter.served) > 0:
            await asyncio.sleep(min(_POLL_SECONDS * before, _LONGEST_POLL_SECONDS))
            seen, counter = counter, await self._look()
            if counter.taken < self._ticket:  # the counter was lost, and our ticket with it
                counter = await self._take()
            if counter.served != seen.served:
                moved = _time()
            elif _time() - moved > patience:
                counter = await self._skip(counter.served + 1)
        return counter

    async def _look(self) -> TicketCounter:
        return _counter(await self._metadata.find_one(_COUNTER))

    async def _skip(self, number: int) -> TicketCounter:
        return await self._update({"$max": {"served": Int64(number)}})

    async def _update(self, update: dict[str, Any]) -> TicketCounter:
        after = ReturnDocument.AFTER
        try:
            found = await self._metadata.find_one_and_update(_COUNTER, update, upsert=True, return_document=after)
        except DuplicateKeyError:  # another process has created it at the same moment
            found = await self._metadata.find_one_and_update(_COUNTER, update, return_document=after)
        return _counter(found)


def _time() -> float:
    return asyncio.get_running_loop().time()


def _counter(found: dict[str, Any] | None) -> TicketCounter:
    return (
        TicketCounter(*(int(found.get(name, 0)) for name in TicketCounter._fields)) if found else TicketCounter()
    )
