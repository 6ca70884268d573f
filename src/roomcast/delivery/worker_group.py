"""State that several workers of one server share. Each tells the others its counts twice a second, and urgent
events at once. With a single process there are no other workers, and all their counts are 0."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from roomcast.delivery.counts import ComputedCount, Counts
from roomcast.delivery.followed import FollowedRooms

_TELL_SECONDS = 0.5
"""Seconds between two reports: all workers know of every limited resource within a second."""


class Peers(Protocol):
    """The other workers, independent of the transport. Values are numbers, texts, lists and dictionaries."""

    number: int
    """This worker's number."""
    restarts: int
    """How many earlier processes had this worker's number."""
    siblings: Sequence[int]
    """The numbers of all others that the server has, whether they are connected or not."""
    others: Sequence[int]
    """The numbers of the other connected workers."""
    changed: list[Callable[[], object]]
    """Called whenever `others` has changed."""

    def tell(self, topic: str, value: Any) -> None:
        """Tells all others `value` about `topic`."""
        ...

    def when_told(self, topic: str, hear: Callable[[int, Any], object]) -> None:
        """Registers `hear`, which is called with the sender's number and the value that it tells about `topic`."""
        ...

    async def ask(self, topic: str, value: Any = None) -> Sequence[tuple[int, Any]]:
        """Asks the other workers and the log process (0) about `topic`, with `value`. Returns pairs of a number
        and an answer, without those of hung processes."""
        ...

    def when_asked(self, topic: str, answer: Callable[[Any], Any | Awaitable[Any]]) -> None:
        """Registers `answer`, which answers the questions of others about `topic`. It is called with their
        value."""
        ...


class Spending(Protocol):
    """A budget for each name that all workers spend together."""

    def take_spent(self) -> Mapping[str, float]:
        """How much was spent here since the last call."""
        ...

    def charge(self, name: str, amount: float) -> None:
        """Notes that another worker spent `amount` of the budget of `name`."""
        ...


class WorkerGroup:
    """This process among its peers."""

    def __init__(self, peers: Peers | None = None) -> None:
        self.peers = peers
        self.number = peers.number if peers else 1
        """This worker's number; 1 for a process alone."""
        self.workers = 1 + len(peers.siblings) if peers else 1
        """How many workers the server has."""
        self._counts: dict[str, Counts | ComputedCount] = {}
        self._spending: dict[str, Spending] = {}
        self._all_due = True
        """Whether the next report must have all counts, since a worker may have just come."""
        self._reported: dict[str, dict[int, dict[str, int]]] = {}
        """The counts of the others, by topic and worker."""
        self._sums: dict[str, Counter[str]] = {}
        """Their sums."""
        if peers:
            peers.changed.append(self._note_presence)

    def count(self, topic: str, counts: Counts | ComputedCount) -> None:
        """Shares `counts` with the others from now on, under `topic`."""
        self._counts[topic] = counts
        if self.peers:
            self.peers.when_told(topic, lambda worker, changes: self._take_report(topic, worker, changes))

    def elsewhere(self, topic: str, name: str = "") -> int:
        """The sum of the others' counts of `name` under `topic`, at most a second old."""
        return self._sums[topic][name] if topic in self._sums else 0

    def spend(self, topic: str, spending: Spending) -> None:
        """Shares a budget under `topic`. The other workers are told what is spent here, and what they spend is
        charged to `spending`."""
        self._spending[topic] = spending
        if self.peers:
            self.peers.when_told(topic, lambda worker, spent: self._charge(topic, spent))

    async def run(self) -> None:
        """Tells the others, for ever."""
        while self.peers:
            await asyncio.sleep(_TELL_SECONDS)
            if self.peers.others:
                self.tell()

    def tell(self) -> None:
        """Tells the others what has changed."""
        assert self.peers
        for topic, counts in self._counts.items():
            changes = counts.all() if self._all_due else counts.changes()
            if changes:
                self.peers.tell(topic, dict(changes))
        self._all_due = False
        for topic, spending in self._spending.items():
            if spent := spending.take_spent():
                self.peers.tell(topic, dict(spent))

    def _take_report(self, topic: str, worker: int, changes: Mapping[str, int]) -> None:
        known = self._reported.setdefault(topic, {}).setdefault(worker, {})
        total = self._sums.setdefault(topic, Counter())
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
        """Drops the counts of workers that are gone, and sends all of ours again: some workers may be new."""
        assert self.peers
        for topic, by_worker in self._reported.items():
            for worker in [worker for worker in by_worker if worker not in self.peers.others]:
                self._take_report(topic, worker, dict.fromkeys(by_worker[worker], 0))
                del by_worker[worker]
        self._all_due = True

    async def ask(self, topic: str, value: Any = None) -> Sequence[tuple[int, Any]]:
        """Asks the other workers and the log process (0) about `topic`, with `value`. Returns pairs of a number
        and an answer; nothing for a process alone."""
        return await self.peers.ask(topic, value) if self.peers else ()

    async def ask_workers(self, topic: str, value: Any = None) -> tuple[dict[int, Any], list[int]]:
        """Asks the other workers about `topic`, with `value`. Returns their answers by number; and the numbers of
        those not answering, because they hang or are being restarted."""
        answers = {worker: answer for worker, answer in await self.ask(topic, value) if answer is not None}
        siblings = self.peers.siblings if self.peers else ()
        return answers, [worker for worker in siblings if worker not in answers]


class FollowedAnywhere:
    """The rooms that have followers at any worker. The others are asked each time: a copy would hold every room in
    every worker."""

    def __init__(self, group: WorkerGroup, own: FollowedRooms) -> None:
        self._group = group
        self._own = own
        if group.peers:
            group.peers.when_asked("followed names", lambda query: self._names(*query))
            group.peers.when_asked("followed counts", lambda rooms: list(map(own.count, rooms)))

    async def names(self, prefix: str, after: str | None, last: str | None, limit: int) -> list[str]:
        """The first `limit` followed rooms with this prefix, in order of code points: after `after`, up to
        `last`."""
        query = (prefix, after, last, limit)
        answers = await self._group.ask("followed names", query)
        if not answers:
            return self._names(*query)
        return sorted({*self._names(*query), *(name for _, names in answers for name in names or ())})[:limit]

    async def counts(self, rooms: Collection[str]) -> dict[str, int]:
        """The number of followers of each of these rooms."""
        found = {room: self._own.count(room) for room in rooms}
        for _, counts in await self._group.ask("followed counts", list(rooms)):
            for room, count in zip(rooms, counts or (), strict=False):
                found[room] += count
        return found

    def _names(self, prefix: str, after: str | None, last: str | None, limit: int) -> list[str]:
        names = self._own.names(prefix, after, last)
        return [name for _, name in zip(range(limit), names, strict=False)]
