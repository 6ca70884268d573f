"""Passes new commits to all consumers of a log. Lives on the event loop; reads the storage only through `fetch`.

Laws:
- A consumer waits on an event and never polls.
- Each consumer gets every message once and in order: from memory if the recent commits kept there continue from
  its position, from the log otherwise.
- A request for the next batch confirms that the last one was delivered. A message that a consumer has not
  delivered is not trimmed (`floor`), unless the consumer stands still for `STILL_SECONDS`.
- `seq` grows by one, so a consumer is told exactly how many messages it was not given, whatever removed them
  (trimming, a room's rule or a delete). The count is exact even before the consumer is told of the removal.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

from roomcast.log.base import Batch
from roomcast.log.positions import positions
from roomcast.model.errors import LogRestarted
from roomcast.model.message import Cut, Message

RECENT_BYTES = 4 * 1024 * 1024
"""The most bytes of recent commits that are kept for consumers that are behind. They fetch older messages from the
log."""
STILL_SECONDS = 5
"""Trimming no longer waits for a consumer that has taken nothing for this long, and up to two seconds more,
although there are messages for it: a hung worker must not fill the disk."""
_CHECK_SECONDS = 1.0
"""Seconds between two checks for consumers that stand still."""

Fetch = Callable[[int], Awaitable[Sequence[Message]]]
"""Reads the first messages after a position: all of them, or as many as should be in memory at once."""


class Consumers:
    """All consumers of one log in this process."""

    def __init__(self, newest: int, trimmed: int, fetch: Fetch, delivered: Callable[[], None]) -> None:
        """`newest` and `trimmed`: how far the log reaches now. `delivered` is called when more may be trimmed."""
        self.newest = newest
        """The seq of the newest message committed."""
        self.trimmed = trimmed
        """How far the whole log is trimmed."""
        self._fetch = fetch
        self._delivered = delivered
        self._all: list[Consumer] = []
        self._ended = False
        self._recent: deque[tuple[Sequence[Message], int]] = deque()
        """The newest commits, each with the total size of its bodies in bytes."""
        self._recent_bytes = 0
        self._check: asyncio.TimerHandle | None = None
        """Set while a consumer may be standing still."""

    @property
    def floor(self) -> int | None:
        """The last message that may be trimmed: all consumers that do not stand still have delivered it. None if
        there is no such consumer."""
        if len(self._all) == 1:  # nearly always, and read with each commit
            only = self._all[0]
            return None if only.stands_still else only.position
        floor = None
        for consumer in self._all:
            if not consumer.stands_still and (floor is None or consumer.position < floor):
                floor = consumer.position
        return floor

    def open(self, name: str, after: int) -> Consumer:
        """A new consumer of the messages after the seq `after`. Several consumers may have the same `name`."""
        consumer = Consumer(self, name, after)
        if not self._ended:
            self._all.append(consumer)
            self._drop()
        return consumer

    def positions(self) -> dict[str, int]:
        """The positions by consumer name. A name that several consumers share has the position of the slowest."""
        return positions(self._all)

    def close(self, consumer: Consumer) -> None:
        """Ends `consumer`, which no longer holds back trimming. Does nothing if it has ended already."""
        if consumer in self._all:
            self._all.remove(consumer)
            self._drop()
            consumer.wake()
            self._delivered()

    def end(self) -> None:
        """Ends all consumers: the log is closed. A consumer that is opened later ends at once."""
        self._ended = True
        self._end_all()

    def is_open(self, consumer: Consumer) -> bool:
        """Whether `consumer` has not ended."""
        return consumer in self._all

    def push(self, messages: Sequence[Message], trimmed: int, cuts: Sequence[Cut] = ()) -> None:
        """Passes on a commit, or a step of trimming: the `messages` that it stored, `trimmed` (how far the whole
        log is trimmed now), and the `cuts` by rules and deletes."""
        self.trimmed = trimmed
        if messages:
            self.newest = messages[-1].seq
        if self._all:
            self._add_recent(messages)
            for consumer in self._all:
                if cuts:
                    consumer.note_cuts(cuts)
                consumer.changed.set()
            if self._check is None:
                self._check = asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._check_all)

    def restart(self, newest: int, trimmed: int) -> None:
        """Ends all consumers with `LogRestarted`: from now on the log has another history, which reaches from
        `trimmed` to `newest`."""
        self.newest, self.trimmed = newest, trimmed
        for consumer in self._all:
            consumer.restarted = True
        self._end_all()

    def from_recent(self, consumer: Consumer) -> Sequence[Message] | None:
        """The messages after those that `consumer` was given, from the recent commits: empty if it was given the
        newest, None if they must be read with `from_log`."""
        if self._recent and self._recent[0][0][0].seq <= consumer.given + 1:
            return self._recent_after(consumer.given)
        # A consumer never waits for messages that are trimmed.
        consumer.given = max(consumer.given, self.trimmed)
        return () if consumer.given >= self.newest else None

    async def from_log(self, consumer: Consumer) -> Sequence[Message]:
        """Like `from_recent`, but reads the messages for `consumer` from the log. Empty if all of them are
        gone."""
        newest = self.newest
        found = await self._fetch(consumer.given)
        if not found:
            consumer.given = max(consumer.given, newest)
        return found

    def acknowledge(self) -> None:
        """Notes that a consumer has delivered its last batch."""
        self._drop()
        self._delivered()

    def _end_all(self) -> None:
        ended, self._all = self._all, []
        self._recent.clear()
        self._recent_bytes = 0
        if self._check:
            self._check.cancel()
            self._check = None
        for consumer in ended:
            consumer.wake()
        if ended:
            self._delivered()

    def _add_recent(self, messages: Sequence[Message]) -> None:
        if messages:
            size = 0
            for message in messages:
                size += len(message.body)
            self._recent.append((messages, size))
            self._recent_bytes += size
        while self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= self._recent.popleft()[1]

    def _drop(self) -> None:
        """Drops the commits that all consumers were given."""
        if not self._recent:
            return
        if len(self._all) == 1 and self._all[0].given == self.newest:
            self._recent.clear()
            self._recent_bytes = 0
            return
        least = self.newest
        for consumer in self._all:
            if consumer.given < least:
                least = consumer.given
        while self._recent and self._recent[0][0][-1].seq <= least:
            self._recent_bytes -= self._recent.popleft()[1]

    def _recent_after(self, position: int) -> Sequence[Message]:
        """All recent messages after `position`. So the commits of one turn of the loop go out as one batch, and as
        one write per follower."""
        if len(self._recent) == 1 and self._recent[0][0][0].seq == position + 1:
            return self._recent[0][0]
        commits: list[Sequence[Message]] = []
        for messages, _ in reversed(self._recent):  # from the end: another consumer may be far behind
            if messages[-1].seq <= position:
                break
            commits.append(messages)
        if not commits:
            return ()
        commits.reverse()
        return [message for message in chain(*commits) if message.seq > position]

    def _check_all(self) -> None:
        """Finds the consumers that stand still. Repeats while any consumer is behind."""
        self._check = None
        floor = self.floor
        for consumer in self._all:
            consumer.check_progress(self.newest)
        if any(consumer.position < self.newest for consumer in self._all):
            self._check = asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._check_all)
        if self.floor != floor:
            self._delivered()


class Consumer:
    """The iterator that `Log.consumer` returns. After an error, or if its caller is cancelled, the next call
    continues where the last one stopped."""

    def __init__(self, consumers: Consumers, name: str, after: int) -> None:
        self.name = name
        self.position = after
        """All messages up to this seq are delivered or gone."""
        self.given = after
        """All messages up to this seq were given to it or are gone."""
        self.stands_still = False
        """Whether it has taken nothing for so long that trimming no longer waits for it."""
        self.restarted = False
        """Whether it ended because the log has another history now."""
        self._consumers = consumers
        self._still = 0
        """How many checks in a row have found it behind since it last moved."""
        self._trimmed_told = consumers.trimmed
        self._told = after
        """Each message up to this seq was given to it, or counted as missed."""
        self._cuts: dict[str, Cut] = {}
        """By room: all cuts by rules and deletes since its last batch, as one."""
        self.changed = asyncio.Event()
        """Set when there may be news."""

    def __aiter__(self) -> Consumer:
        return self

    async def __anext__(self) -> Batch:
        self._acknowledge()
        while self._consumers.is_open(self):
            self.changed.clear()
            messages = self._consumers.from_recent(self)
            if messages is None:
                messages = await self._consumers.from_log(self)
            if (messages or self._has_news()) and self._consumers.is_open(self):
                return self._give(messages)
            await self.changed.wait()
        if self.restarted:
            raise LogRestarted
        raise StopAsyncIteration

    def _has_news(self) -> bool:
        return self._consumers.trimmed > self._trimmed_told or self.given > self._told or bool(self._cuts)

    def wake(self) -> None:
        """Makes it look for news, or notice that it has ended."""
        self.changed.set()

    async def aclose(self) -> None:
        """Ends it; it no longer holds back trimming."""
        self._consumers.close(self)

    def note_cuts(self, cuts: Sequence[Cut]) -> None:
        """Notes the `cuts` by rules and deletes, for the next batch. The consumer may not have been given these
        messages yet."""
        for cut in cuts:
            # Keeps the higher `upto`: this delete may be of an older message than one before it, and the newer
            # message must not be served from memory again.
            known = self._cuts.get(cut.room, cut._replace(gone=0))
            self._cuts[cut.room] = Cut(cut.room, max(known.upto, cut.upto), known.gone + cut.gone)

    def check_progress(self, newest: int) -> None:
        """Called once a second: finds out whether it stands still although there is something to take after its
        position, up to `newest`."""
        self._still = 0 if self.position >= newest else self._still + 1
        self.stands_still = self._still * _CHECK_SECONDS > STILL_SECONDS

    def _acknowledge(self) -> None:
        if self.given > self.position:
            self.position = self.given
            self._still, self.stands_still = 0, False
            self._consumers.acknowledge()

    def _give(self, messages: Sequence[Message]) -> Batch:
        self._trimmed_told = trimmed = self._consumers.trimmed
        if messages:
            self.given = messages[-1].seq
        missed = self.given - self._told - len(messages)
        self._told = self.given
        if not self._cuts and not missed:
            return Batch(messages, trimmed, self.given)
        cuts = tuple(self._cuts.values())
        self._cuts = {}
        return Batch(messages, trimmed, self.given, cuts, missed)
