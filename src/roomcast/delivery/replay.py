"""Pages of the log for streams that the hub's window does not reach."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Protocol

from roomcast import tasks
from roomcast.delivery.hub import Entry, Hub, Piece
from roomcast.log.base import Log, Loss
from roomcast.model.errors import LogUnavailable

PAGE_MESSAGES = 500
"""The most that one read of the log brings into memory; its bytes are bounded by the log."""
READS_AT_ONCE = 4

logger = logging.getLogger("roomcast.streams")


class Waiting(Protocol):
    """A stream that waits for a page."""

    rooms: frozenset[str]
    position: int
    ended: bool

    def turn(self, piece: Piece, losses: Sequence[Loss]) -> None:
        """The page."""
        ...

    def end(self, reason: str, retry_ms: int | None = None) -> None:
        """There is none."""
        ...


_Page = tuple[Piece, Sequence[Loss]]


class Replay:
    """Pages of the log for streams that the window does not reach; those at one place share one read."""

    def __init__(self, log: Log, hub: Hub) -> None:
        self._log = log
        self._hub = hub
        self._waiting: dict[tuple[frozenset[str], int], list[Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self.reads = 0

    def read(self, stream: Waiting) -> None:
        """Calls the stream's `turn` with the page after its position."""
        key = (stream.rooms, stream.position)
        if key in self._waiting:
            self._waiting[key].append(stream)
            return
        self._waiting[key] = [stream]
        task = asyncio.get_running_loop().create_task(self._serve(*key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, rooms: frozenset[str], after: int) -> None:
        async with self._turns:
            # Who is cut and comes back again and again must not wait behind reads for those it was before.
            if all(stream.ended for stream in self._waiting[rooms, after]):
                del self._waiting[rooms, after]
                return
            page = await self._page(rooms, after)
            for number, stream in enumerate(self._waiting.pop((rooms, after))):
                _turn(stream, page)
                if number % 50 == 49:
                    await asyncio.sleep(0)  # thousands may share a page: others have their turn, too

    async def _page(self, rooms: frozenset[str], after: int) -> _Page | None:
        while True:
            try:
                # Never past the hub: what comes after is delivered live, and would come twice.
                page = await self._log.read(rooms, after, PAGE_MESSAGES, self._hub.position + 1)
            except LogUnavailable:
                await asyncio.sleep(1)
            except Exception:
                logger.exception("a page of %s after %d could not be read", sorted(rooms), after)
                return None
            else:
                self.reads += 1
                return Piece([Entry(m) for m in page.messages], page.position), page.losses

    async def close(self) -> None:
        """Ends the reads under way."""
        await tasks.cancel(self._tasks)


def _turn(stream: Waiting, page: _Page | None) -> None:
    """A stream that cannot go on ends, and resumes: it would wait for ever, as those that wait behind it."""
    try:
        if page:
            stream.turn(*page)
    except Exception:
        logger.exception("a stream of %s could not take its page", sorted(stream.rooms))
        page = None
    if page is None:
        stream.end("error", retry_delay_ms())


def retry_delay_ms() -> int:
    """When a client that is sent away may come back: spread, so that not all come at once."""
    return random.randint(2_000, 10_000)
