"""Replay: reads pages of the log for streams that are further behind than the hub's window."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Protocol

from roomcast import tasks
from roomcast.delivery.hub import Hub
from roomcast.delivery.piece import Entry, Piece
from roomcast.log.base import Log, Page
from roomcast.model.errors import LogUnavailable
from roomcast.model.rooms import Selection

PAGE_MESSAGES = 500
"""Most messages that one read brings into memory. The log bounds their bytes."""
READS_AT_ONCE = 4
RETRY_SECONDS = 1.0

logger = logging.getLogger("roomcast.streams")


class WaitingStream(Protocol):
    """A stream that waits for a page."""

    selection: Selection
    position: int
    ended: bool

    def take_page(self, piece: Piece, page: Page) -> None:
        """Called with the messages as a `piece`, and with the `page` that they came in: it names what is
        missing."""
        ...

    def end(self, reason: str, retry_ms: int | None = None) -> None:
        """Called if the page cannot be read. `reason` and `retry_ms` are those of `Stream.end`."""
        ...


_Page = tuple[Piece, Page]
_Key = tuple[str, Selection, int]
"""The epoch, the rooms and the position of a page. Because of the epoch, streams that begin after a restart of the
log do not share a read that was started before it."""


class Replay:
    """Reads pages. Streams of the same rooms at the same position share one read."""

    def __init__(self, log: Log, hub: Hub) -> None:
        self._log = log
        self._hub = hub
        self._waiting: dict[_Key, list[WaitingStream]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self.reads = 0
        """How many pages were read."""

    def read(self, stream: WaitingStream) -> None:
        """Reads the page after the position of `stream`, then calls its `take_page`."""
        key = (self._hub.epoch, stream.selection, stream.position)
        if key in self._waiting:
            self._waiting[key].append(stream)
            return
        self._waiting[key] = [stream]
        task = asyncio.get_running_loop().create_task(self._serve(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, key: _Key) -> None:
        async with self._turns:
            page = await self._page(key)
            turns = tasks.Turns()
            for stream in self._waiting.pop(key):  # thousands may share a page
                _give(stream, page)
                await turns.next()

    async def _page(self, key: _Key) -> _Page | None:
        """The page; None if it cannot be read, or nobody waits for it any more."""
        # A client that reconnects repeatedly must not queue behind reads started for its earlier, dead streams.
        while not all(stream.ended for stream in self._waiting[key]):
            try:
                return await self._read(*key)
            except LogUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("a page of %s after %d could not be read", key[1].texts(), key[2])
                return None
        return None

    async def _read(self, epoch: str, selection: Selection, after: int) -> _Page:
        # Read no further than the hub's position: later messages are delivered live, and would come twice.
        page = await self._log.read(selection, after, PAGE_MESSAGES, self._hub.position + 1)
        self.reads += 1
        if self._log.epoch != epoch:  # the tail meets the new epoch, too, and then all streams end
            raise LogUnavailable("The log has a new epoch.")
        return Piece([Entry(m) for m in page.messages], page.position), page

    async def close(self) -> None:
        """Cancels all reads."""
        await tasks.cancel(self._tasks)


def _give(stream: WaitingStream, page: _Page | None) -> None:
    """Gives a stream its page. One that cannot take it ends and resumes: otherwise it would wait for ever, and so
    would all that are served after it."""
    try:
        if page:
            stream.take_page(*page)
    except Exception:
        logger.exception("a stream of %s could not take its page", stream.selection.texts())
        page = None
    if page is None:
        stream.end("error", retry_delay_ms())


def retry_delay_ms(min_ms: int = 2_000, max_ms: int = 10_000) -> int:
    """A random delay from `min_ms` to `max_ms`, in ms, after which a client may reconnect: not all come at
    once."""
    return random.randint(min_ms, max_ms)
