"""What is the server's and not one process's, where several workers serve: each tells the others what it counts,
once a second, and what cannot wait at once. With one process there are no others, and all of it is 0."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from roomcast.delivery.counts import Counts, Number
from roomcast.delivery.followed import FollowedRooms

_TELL_SECONDS = 0.5
"""Between two tellings: whatever is limited is known to all within a second."""


class Peers(Protocol):
    """The other workers, however they are reached. Values are numbers, texts, lists and dictionaries."""

    number: int
    """This worker's."""
    siblings: Sequence[int]
    """The numbers of all others that the server has, whether they are there or not."""
    others: Sequence[int]
    """The numbers of those that are there."""
    changed: list[Callable[[], object]]
    """Called whenever there are others."""

    def tell(self, topic: str, value: Any) -> None:
        """Tells all others."""
        ...

    def when_told(self, topic: str, hear: Callable[[int, Any], object]) -> None:
        """From now on `hear` is called with the number of whoever tells something, and what it is."""
        ...

    async def ask(self, topic: str, value: Any = None) -> Sequence[tuple[int, Any]]:
        """What each of the others, and the log process (0), answers; without those that stand still."""
        ...

    def when_asked(self, topic: str, answer: Callable[[Any], Any | Awaitable[Any]]) -> None:
        """From now on `answer` gives what others are told who ask."""
        ...


class Spending(Protocol):
    """Something that is used up by name, and that all workers use up together."""

    def take_spent(self) -> Mapping[str, float]:
        """How much was used here since it was asked last."""
        ...

    def charge(self, name: str, amount: float) -> None:
        """So much was used elsewhere."""
        ...


class Together:
    """This process among its peers."""

    def __init__(self, peers: Peers | None = None) -> None:
        self.peers = peers
        self.number = peers.number if peers else 1
        """This worker's; one process alone is the first."""
        self.workers = 1 + len(peers.siblings) if peers else 1
        """How many the server has."""
        self._counts: dict[str, Counts | Number] = {}
        self._spending: dict[str, Spending] = {}
        self._anew = True
        """Whether the others are to be told all: some may have just come."""
        self._heard: dict[str, dict[int, dict[str, int]]] = {}
        """What the others count, by topic and worker."""
        self._elsewhere: dict[str, Counter[str]] = {}
        """The same, added up."""
        if peers:
            peers.changed.append(self._note_presence)

    def count(self, topic: str, counts: Counts | Number) -> None:
        """The others are told of these from now on."""
        self._counts[topic] = counts
        if self.peers:
            self.peers.when_told(topic, lambda worker, changes: self._hear(topic, worker, changes))

    def elsewhere(self, topic: str, name: str = "") -> int:
        """What the others count together under a name, as of a second ago."""
        return self._elsewhere[topic][name] if topic in self._elsewhere else 0

    def spend(self, topic: str, spending: Spending) -> None:
        """What is used here is used for the others, too, and the other way round."""
        self._spending[topic] = spending
        if self.peers:
            self.peers.when_told(topic, lambda worker, spent: self._charge(topic, spent))

    async def run(self) -> None:
        """For ever: tells the others."""
        while self.peers:
            await asyncio.sleep(_TELL_SECONDS)
            if self.peers.others:
                self.tell()

    def tell(self) -> None:
        """Tells the others what has changed."""
        assert self.peers
        for topic, counts in self._counts.items():
            changes = counts.all() if self._anew else counts.changes()
            if changes:
                self.peers.tell(topic, dict(changes))
        self._anew = False
        for topic, spending in self._spending.items():
            if spent := spending.take_spent():
                self.peers.tell(topic, dict(spent))

    def _hear(self, topic: str, worker: int, changes: Mapping[str, int]) -> None:
        known = self._heard.setdefault(topic, {}).setdefault(worker, {})
        total = self._elsewhere.setdefault(topic, Counter())
        for name, number in changes.items():
            total[name] += number - known.pop(name, 0)
            if number:
                known[name] = number
            if not total[name]:
                del total[name]

    def _charge(self, topic: str, spent: Mapping[str, float]) -> None:
        for name, amount in spent.items():
            self._spending[topic].charge(name, amount)

    def _note_presence(self) -> None:
        """Forgets what those counted that are gone, and tells all anew: some may have just come."""
        assert self.peers
        for topic, by_worker in self._heard.items():
            for worker in [worker for worker in by_worker if worker not in self.peers.others]:
                self._hear(topic, worker, dict.fromkeys(by_worker[worker], 0))
                del by_worker[worker]
        self._anew = True

    async def ask(self, topic: str, value: Any = None) -> Sequence[tuple[int, Any]]:
        """What each of the others, and the log process (0), answers."""
        return await self.peers.ask(topic, value) if self.peers else ()

    async def ask_workers(self, topic: str, value: Any = None) -> tuple[dict[int, Any], list[int]]:
        """What each of the others answers, by its number; and the numbers of those that do not: they stand still,
        or are just started again."""
        answers = {worker: answer for worker, answer in await self.ask(topic, value) if answer is not None}
        siblings = self.peers.siblings if self.peers else ()
        return answers, [worker for worker in siblings if worker not in answers]


class FollowedTogether:
    """Which rooms have followers, of all workers. Asked for when somebody wants to know, and not kept: it would be
    every room in every worker."""

    def __init__(self, together: Together, own: FollowedRooms) -> None:
        self._together = together
        self._own = own
        if together.peers:
            together.peers.when_asked("followed names", lambda asked: self._names(*asked))
            together.peers.when_asked("followed counts", lambda rooms: list(map(own.count, rooms)))

    async def names(self, prefix: str, after: str | None, last: str | None, limit: int) -> list[str]:
        """The first of the followed rooms whose names begin so, in order of code points: behind `after`, up to
        `last`."""
        asked = (prefix, after, last, limit)
        answers = await self._together.ask("followed names", asked)
        if not answers:
            return self._names(*asked)
        return sorted({*self._names(*asked), *(name for _, names in answers for name in names or ())})[:limit]

    async def counts(self, rooms: Collection[str]) -> dict[str, int]:
        """How many follow each of these rooms."""
        found = {room: self._own.count(room) for room in rooms}
        for _, counts in await self._together.ask("followed counts", list(rooms)):
            for room, count in zip(rooms, counts or (), strict=False):
                found[room] += count
        return found

    def _names(self, prefix: str, after: str | None, last: str | None, limit: int) -> list[str]:
        names = self._own.names(prefix, after, last)
        return [name for _, name in zip(range(limit), names, strict=False)]
