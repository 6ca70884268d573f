"""What was committed of late, for everybody who consumes the log. Lives on the event loop; knows no storage but a
way to fetch.

Laws:
- A consumer waits on an event and never polls.
- Each sees every message once and in order: from memory where that goes on from its position, from the log
  otherwise.
- Asking for the next batch says that the last one is delivered. What a consumer that holds the log was not asked
  past is not trimmed (`floor`), unless it stands still for `STILL_SECONDS`.
- `seq` counts by one, so a consumer is told exactly how many messages it was not given, whatever took them and
  whenever: trimming, a room's rule or a delete may be faster than the word of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain
from typing import Protocol

from roomcast.log.base import Batch
from roomcast.model.errors import LogRestarted
from roomcast.model.message import Cut, Message

RECENT_BYTES = 4 * 1024 * 1024
"""How much of what was committed is held for consumers that are behind; the rest they fetch."""
STILL_SECONDS = 5
"""A consumer that has something to take and takes nothing for so long holds back trimming no longer: a worker that
hangs must not fill the disk."""
_LOOK_SECONDS = 1.0
NAMED = 100
"""Names of consumers that are told: each is a row of the metrics."""

Fetch = Callable[[int], Awaitable[Sequence[Message]]]
"""The first messages after a position; all of them, or as many as should be in memory at once."""


class Consumers:
    """From the commits to all who consume them."""

    def __init__(self, newest: int, trimmed: int, fetch: Fetch, delivered: Callable[[], None]) -> None:
        self.newest = newest
        """The newest message committed."""
        self.trimmed = trimmed
        """How far the whole log is trimmed."""
        self._fetch = fetch
        self._delivered = delivered
        self._all: list[Consumer] = []
        self._ended = False
        self._recent: deque[tuple[Sequence[Message], int]] = deque()
        """Commits, each with the bytes of its bodies."""
        self._recent_bytes = 0
        self._look: asyncio.TimerHandle | None = None
        """Set while somebody may be standing still."""

    @property
    def floor(self) -> int | None:
        """The last message that all were asked past who hold back trimming; None where there are none."""
        if len(self._all) == 1:  # as nearly always, and asked for with each commit
            only = self._all[0]
            return only.position if only.holding else None
        floor = None
        for consumer in self._all:
            if consumer.holding and (floor is None or consumer.position < floor):
                floor = consumer.position
        return floor

    def open(self, name: str, after: int, *, holds: bool = True) -> Consumer:
        """One more consumer. `name` is for metrics."""
        consumer = Consumer(self, name, after, holds)
        if not self._ended:
            self._all.append(consumer)
            self._drop()
        return consumer

    def positions(self) -> dict[str, int]:
        """Where they are by their names, of at most `NAMED` names; of several with one name the one that is
        furthest behind."""
        return positions(self._all)

    def close(self, consumer: Consumer) -> None:
        """Ends it, and with it what it held back."""
        if consumer in self._all:
            self._all.remove(consumer)
            self._drop()
            consumer.wake()
            self._delivered()

    def end(self) -> None:
        """The log is closed: all end, and one opened later ends at once."""
        self._ended = True
        self._end_all()

    def feeds(self, consumer: Consumer) -> bool:
        return consumer in self._all

    def push(self, messages: Sequence[Message], trimmed: int, cuts: Sequence[Cut] = ()) -> None:
        """A commit: its messages, how far the log is trimmed with it, and what else is gone."""
        self.trimmed = trimmed
        if messages:
            self.newest = messages[-1].seq
        if self._all:
            self._remember(messages)
            for consumer in self._all:
                if cuts:
                    consumer.cut(cuts)
                consumer.changed.set()
            if self._look is None:
                self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look_around)

    def restart(self, newest: int, trimmed: int) -> None:
        """The log has another history from now on: all are told, and end."""
        self.newest, self.trimmed = newest, trimmed
        for consumer in self._all:
            consumer.restarted = True
        self._end_all()

    def held(self, consumer: Consumer) -> Sequence[Message] | None:
        """What was committed after what a consumer was given; nothing where that is the newest; None where it
        must be fetched."""
        if self._recent and self._recent[0][0][0].seq <= consumer.given + 1:
            return self._take(consumer.given)
        # Where the log was trimmed further there is nothing to wait for.
        consumer.given = max(consumer.given, self.trimmed)
        return () if consumer.given >= self.newest else None

    async def fetched(self, consumer: Consumer) -> Sequence[Message]:
        """The same from the log."""
        newest = self.newest
        found = await self._fetch(consumer.given)
        if not found:  # all of it is gone
            consumer.given = max(consumer.given, newest)
        return found

    def acknowledge(self) -> None:
        self._drop()
        self._delivered()

    def _end_all(self) -> None:
        ended, self._all = self._all, []
        self._recent.clear()
        self._recent_bytes = 0
        if self._look:
            self._look.cancel()
            self._look = None
        for consumer in ended:
            consumer.wake()
        if ended:
            self._delivered()

    def _remember(self, messages: Sequence[Message]) -> None:
        if messages:
            size = 0
            for message in messages:
                size += len(message.body)
            self._recent.append((messages, size))
            self._recent_bytes += size
        while self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= self._recent.popleft()[1]

    def _drop(self) -> None:
        """Lets go of what all were given."""
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

    def _take(self, position: int) -> Sequence[Message]:
        """All that is held: what came in one turn goes out as one batch, and so as one write per follower."""
        if len(self._recent) == 1 and self._recent[0][0][0].seq == position + 1:
            return self._recent[0][0]
        commits: list[Sequence[Message]] = []
        for messages, _ in reversed(self._recent):  # from the end: others may be far behind
            if messages[-1].seq <= position:
                break
            commits.append(messages)
        if not commits:
            return ()
        commits.reverse()
        return [message for message in chain(*commits) if message.seq > position]

    def _look_around(self) -> None:
        """Finds those that stand still; looks again while anybody is behind."""
        self._look = None
        held = self.floor
        for consumer in self._all:
            consumer.look(self.newest)
        if any(consumer.position < self.newest for consumer in self._all):
            self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look_around)
        if self.floor != held:
            self._delivered()


class Consumer:
    """The iterator that `Log.consumer` gives. It survives an error and the cancelling of who waits on it: asking
    again goes on where it was."""

    def __init__(self, home: Consumers, name: str, after: int, holds: bool) -> None:
        self.name = name
        self.position = after
        """The last message it was asked past: all up to here is delivered."""
        self.given = after
        """The last message that it was given."""
        self.holding = holds
        """Whether what is after its position is kept for it now."""
        self.restarted = False
        """Whether it ended because the log has another history now."""
        self._home = home
        self._holds = holds
        """Whether it asks for that."""
        self._still = 0
        """How often it was seen not to have moved."""
        self._seen = after
        """Where it was seen last."""
        self._trimmed_told = home.trimmed
        self._told = after
        """Up to here each message was given to it, or counted as missed."""
        self._cuts: dict[str, Cut] = {}
        """What is gone since its last batch, by room."""
        self.changed = asyncio.Event()
        """Set where there may be something for it."""

    def __aiter__(self) -> Consumer:
        return self

    async def __anext__(self) -> Batch:
        self._acknowledge()
        while self._home.feeds(self):
            self.changed.clear()
            messages = self._home.held(self)
            if messages is None:
                messages = await self._home.fetched(self)
            if (messages or self._has_news()) and self._home.feeds(self):
                return self._give(messages)
            await self.changed.wait()
        if self.restarted:
            raise LogRestarted
        raise StopAsyncIteration

    def _has_news(self) -> bool:
        return self._home.trimmed > self._trimmed_told or self.given > self._told or bool(self._cuts)

    def wake(self) -> None:
        self.changed.set()

    async def aclose(self) -> None:
        """Ends it, and with it what it holds back."""
        self._home.close(self)

    def cut(self, cuts: Sequence[Cut]) -> None:
        """Messages that it may not have are gone."""
        for cut in cuts:
            self._cuts[cut.room] = cut

    def look(self, newest: int) -> None:
        """Whether it moved since it was looked at last, or has nothing to take."""
        if self.position >= newest or self.position > self._seen:
            self._still = 0
        else:
            self._still += 1
        self._seen = self.position
        self.holding = self._holds and self._still * _LOOK_SECONDS <= STILL_SECONDS

    def _acknowledge(self) -> None:
        if self.given > self.position:
            self.position = self.given
            self._still, self.holding = 0, self._holds
            self._home.acknowledge()

    def _give(self, messages: Sequence[Message]) -> Batch:
        self._trimmed_told = trimmed = self._home.trimmed
        if messages:
            self.given = messages[-1].seq
        missed = self.given - self._told - len(messages)
        self._told = self.given
        if not self._cuts and not missed:
            return Batch(messages, trimmed, self.given)
        cuts = tuple(self._cuts.values())
        self._cuts = {}
        return Batch(messages, trimmed, self.given, cuts, missed)


class _Placed(Protocol):
    """The part of a consumer that concerns its position."""

    name: str
    position: int


def positions(consumers: Iterable[_Placed]) -> dict[str, int]:
    """Positions by consumer name, for at most `NAMED` names; if several share a name, that of the slowest."""
    found: dict[str, int] = {}
    for consumer in consumers:
        position = found.get(consumer.name, consumer.position)
        if consumer.name in found or len(found) < NAMED:
            found[consumer.name] = min(position, consumer.position)
    return found
