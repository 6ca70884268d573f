"""What was committed of late, for the one tail. Lives on the event loop; knows no storage but a way to fetch.

Laws:
- The tail waits on an event and never polls.
- What it brings is dense: from memory where that goes on from its position, from the log otherwise.
- Asking for the next batch says that the last one is delivered; the log is not trimmed beyond that (`floor`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

from roomcast.log.base import Batch
from roomcast.model.errors import LogRestarted
from roomcast.model.message import Message

RECENT_BYTES = 4 * 1024 * 1024
"""How much of what was committed is held for a tail that is behind; the rest it fetches."""

Fetch = Callable[[int], Awaitable[Sequence[Message]]]
"""The first messages after a position; all of them, or as many as should be in memory at once."""


class Consumers:
    """From the commits to the tail."""

    def __init__(self, newest: int, trimmed: int, fetch: Fetch, delivered: Callable[[], None]) -> None:
        self.newest = newest
        """The newest message committed."""
        self.trimmed = trimmed
        """How far the log is trimmed."""
        self._fetch = fetch
        self._delivered = delivered
        self._tail: Consumer | None = None
        self._ended = False
        self._recent: deque[tuple[Sequence[Message], int]] = deque()
        """Commits, each with the bytes of its bodies."""
        self._recent_bytes = 0

    @property
    def floor(self) -> int | None:
        """The last message the tail was asked past, or None where there is no tail."""
        return self._tail.position if self._tail else None

    def open(self, after: int) -> Consumer:
        """The one tail from now on; an earlier one ends."""
        tail = Consumer(self, after)
        # In one move: without a tail in between, what the new one has yet to bring could be trimmed.
        self._replace(None if self._ended else tail)
        return tail

    def close(self, tail: Consumer) -> None:
        """Ends `tail`, and with it what it held back."""
        if tail is self._tail:
            self._replace(None)

    def end(self) -> None:
        """The log is closed: every tail ends, and one opened later ends at once."""
        self._ended = True
        self._replace(None)

    def feeds(self, tail: Consumer) -> bool:
        return self._tail is tail

    def push(self, messages: Sequence[Message], trimmed: int) -> None:
        """A commit: its messages, and how far the log is trimmed with it."""
        self.trimmed = trimmed
        if messages:
            self.newest = messages[-1].seq
        if self._tail:
            self._remember(messages)
            self._tail.wake()

    def restart(self, newest: int, trimmed: int) -> None:
        """The log has another history from now on: the tail is told, and ends."""
        self.newest, self.trimmed = newest, trimmed
        if self._tail:
            self._tail.restarted = True
        self._replace(None)

    async def after(self, position: int) -> Sequence[Message]:
        """What was committed after `position`; nothing where that is the newest."""
        self._drop(position)
        if self._recent and self._recent[0][0][0].seq <= position + 1:
            return self._take(position)
        # Where the log was trimmed further there is nothing to wait for.
        position = max(position, self.trimmed)
        return () if position >= self.newest else await self._fetch(position)

    def acknowledge(self) -> None:
        self._delivered()

    def _replace(self, tail: Consumer | None) -> None:
        replaced, self._tail = self._tail, tail
        self._forget()
        if replaced:
            replaced.wake()
            self._delivered()

    def _remember(self, messages: Sequence[Message]) -> None:
        if messages:
            size = sum([len(message.body) for message in messages])
            self._recent.append((messages, size))
            self._recent_bytes += size
        while self._recent_bytes > RECENT_BYTES:
            self._recent_bytes -= self._recent.popleft()[1]

    def _drop(self, position: int) -> None:
        while self._recent and self._recent[0][0][-1].seq <= position:
            self._recent_bytes -= self._recent.popleft()[1]

    def _take(self, position: int) -> Sequence[Message]:
        """All that is held: what came in one turn goes out as one batch, and so as one write per follower."""
        commits = [messages for messages, _ in self._recent]
        whole = len(commits) == 1 and commits[0][0].seq == position + 1
        taken = commits[0] if whole else [m for m in chain(*commits) if m.seq > position]
        self._forget()
        return taken

    def _forget(self) -> None:
        self._recent.clear()
        self._recent_bytes = 0


class Consumer:
    """The iterator that `Log.tail` gives. It survives an error and the cancelling of who waits on it: asking
    again goes on where it was. It holds back trimming until it is closed or another one is opened."""

    def __init__(self, feed: Consumers, after: int) -> None:
        self.position = after
        """The last message it was asked past: all up to here is delivered."""
        self._feed = feed
        self._given = after
        self._trimmed_told = feed.trimmed
        self._changed = asyncio.Event()
        self.restarted = False
        """Whether it ended because the log has another history now."""

    def __aiter__(self) -> Consumer:
        return self

    async def __anext__(self) -> Batch:
        self._acknowledge()
        while self._feed.feeds(self):
            self._changed.clear()
            messages = await self._feed.after(self.position)
            if self._feed.feeds(self) and (messages or self._feed.trimmed > self._trimmed_told):
                return self._give(messages)
            await self._changed.wait()
        if self.restarted:
            raise LogRestarted
        raise StopAsyncIteration

    def wake(self) -> None:
        self._changed.set()

    async def aclose(self) -> None:
        """Ends it, and with it what it holds back."""
        self._feed.close(self)

    def _acknowledge(self) -> None:
        if self._given > self.position:
            self.position = self._given
            self._feed.acknowledge()

    def _give(self, messages: Sequence[Message]) -> Batch:
        self._trimmed_told = self._feed.trimmed
        if messages:
            self._given = messages[-1].seq
        return Batch(messages, self._trimmed_told)
