"""Who of several processes writes next: each takes a number, as at a counter, and waits for those before it.

Laws:
- It is advice. The unique index on `_id` decides what is stored, so nothing is wrong where a number is lost,
  skipped or taken twice, or where a process knows nothing of it: only time is lost.
- Who writes alone takes no number, and looks now and then whether somebody waits.
- Nobody waits for one who does not move.
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
"""After so many turns without seeing another a process takes no more numbers, and looks after so many writes."""
_SHORTEST_SECONDS = 0.02
_LONGEST_SECONDS = 0.25
"""How long a turn lasts after its first write, where there is more to write; in between, as long again as that
took. So about half of the time goes into changing places, however slow that is, and nobody waits for long."""
_POLL_SECONDS = 0.005
"""For each that is before us."""
_LONGEST_POLL_SECONDS = 0.1
_STALE_SECONDS = 1.0
_STALE_TURNS = 4
"""After so long, and so many times what our own turn took, another's is taken for lost: its process has died."""


class Counter(NamedTuple):
    """The numbers."""

    taken: int = 0
    served: int = 0
    newest: int = 0
    """How far the log reached after the last turn."""


class TicketLock:
    """This process's place in the queue."""

    def __init__(self, store: Store) -> None:
        # What is lost of it in a failover does no harm, so nothing waits for it to be confirmed.
        self._beside: Collection = store.beside.with_options(
            write_concern=WriteConcern(1), read_concern=ReadConcern("local")
        )
        self._queues = False
        """Whether others want to write as well."""
        self._number = 0
        """Ours, or the last we had."""
        self._waiting = False
        self._served = False
        """Whether it is our turn."""
        self._alone = 0
        """How many turns, or writes outside of the queue, ago another was seen."""
        self._since = 0.0
        """When our turn began, or we were last beaten in it."""
        self._until = 0.0
        """When our turn ends; 0 before its first write."""
        self._took = 0.0
        """How long our last turn was; a busy database makes it longer for all."""

    def ask(self) -> None:
        """Another was faster, again: from now on we queue."""
        self._queues, self._alone = True, 0
        self._since = _time()

    async def begin(self) -> int:
        """Waits until it is our turn; how far the log reached then, or 0 where nobody else has written. Raises
        `PyMongoError`, and can be called again after that."""
        if not self._queues or self._served:
            return 0
        before = self._number
        counter = await self._take() if not self._waiting else await self._look()
        counter = await self._wait(counter)
        self._served, self._since, self._until = True, _time(), 0.0
        if self._number == before + 1:
            return 0
        self._alone = 0
        return counter.newest

    def last(self) -> bool:
        """Whether our turn lasts, now that something is written."""
        if not self._served:
            return False
        now = _time()
        if not self._until:
            self._until = now + min(max(now - self._since, _SHORTEST_SECONDS), _LONGEST_SECONDS)
        return now < self._until

    async def end(self, newest: int) -> None:
        """We have written, and the log reaches up to `newest`: the next one's turn. Raises `PyMongoError`."""
        self._alone += 1
        if self._waiting:
            self._waiting = self._served = False
            self._took = _time() - self._since
            self._queues = self._alone < _ALONE
            await self._update({"$max": {"served": Int64(self._number)}, "$set": {"newest": Int64(newest)}})
        elif self._alone >= _ALONE:
            self._alone = 0
            counter = await self._look()
            self._queues = counter.taken > counter.served

    async def _take(self) -> Counter:
        counter = await self._update({"$inc": {"taken": Int64(1)}})
        self._number, self._waiting = counter.taken, True
        return counter

    async def _wait(self, counter: Counter) -> Counter:
        moved, patience = _time(), max(_STALE_SECONDS, _STALE_TURNS * self._took)
        while (before := self._number - 1 - counter.served) > 0:
            await asyncio.sleep(min(_POLL_SECONDS * before, _LONGEST_POLL_SECONDS))
            seen, counter = counter, await self._look()
            if counter.taken < self._number:  # the counter was lost, and our number with it
                counter = await self._take()
            if counter.served != seen.served:
                moved = _time()
            elif _time() - moved > patience:
                counter = await self._pass_over(counter.served + 1)
        return counter

    async def _look(self) -> Counter:
        return _counter(await self._beside.find_one(_COUNTER))

    async def _pass_over(self, number: int) -> Counter:
        return await self._update({"$max": {"served": Int64(number)}})

    async def _update(self, update: dict[str, Any]) -> Counter:
        after = ReturnDocument.AFTER
        try:
            found = await self._beside.find_one_and_update(_COUNTER, update, upsert=True, return_document=after)
        except DuplicateKeyError:  # another process has made it at the same moment
            found = await self._beside.find_one_and_update(_COUNTER, update, return_document=after)
        return _counter(found)


def _time() -> float:
    return asyncio.get_running_loop().time()


def _counter(found: dict[str, Any] | None) -> Counter:
    return Counter(*(int(found.get(name, 0)) for name in Counter._fields)) if found else Counter()
