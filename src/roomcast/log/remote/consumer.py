"""A consumer in a worker, of a log that another process owns."""

from __future__ import annotations

import asyncio
from typing import Protocol

from roomcast.log.base import Batch
from roomcast.log.remote.frames import CloseConsumer, ConsumerBatch, FromWorker, NextBatch, batch_of
from roomcast.model.errors import RoomcastError


class _Log(Protocol):
    """The worker's log, as a consumer needs it."""

    def send(self, frame: FromWorker) -> None:
        """Sends a frame to the log process."""
        ...

    def forget(self, number: int) -> None:
        """The consumer with this number has ended."""
        ...


class RemoteConsumer:
    """The iterator that `Log.consumer` returns. At most one batch is on its way to it, so that a hung worker fills
    no memory of the log process."""

    def __init__(self, log: _Log, number: int, name: str, after: int) -> None:
        self.name = name
        self.position = after
        """The last request asked for the messages after this seq."""
        self._log = log
        self._number = number
        self._given = after
        self._requested = False
        """Whether a batch is on its way."""
        self._ready: Batch | None = None
        """A batch that arrived and was not taken, for example because the task that waited for it was
        cancelled."""
        self._failed: RoomcastError | None = None
        self._ended = False
        self._changed = asyncio.Event()

    def __aiter__(self) -> RemoteConsumer:
        return self

    async def __anext__(self) -> Batch:
        self.position = self._given
        while self._ready is None:
            self._check()
            self._changed.clear()
            if not self._requested:
                self._requested = True
                self._log.send(NextBatch(self._number))
            await self._changed.wait()
        batch, self._ready = self._ready, None
        self._given = batch.position
        return batch

    def _check(self) -> None:
        if self._failed:
            raise self._failed.with_traceback(None)
        if self._ended:
            raise StopAsyncIteration

    async def aclose(self) -> None:
        """Ends the consumer; it no longer holds back trimming."""
        if not self._ended:
            self._log.send(CloseConsumer(self._number))
            self._log.forget(self._number)
            self.end()

    def give(self, frame: ConsumerBatch) -> None:
        """Takes the requested batch, which has arrived in `frame`."""
        self._requested = False
        self._ready = batch_of(frame)
        self._changed.set()

    def fail(self, error: RoomcastError) -> None:
        """Ends the consumer: it raises `error` from now on. A new one can continue from its position."""
        self._failed = error
        self._changed.set()

    def end(self) -> None:
        """Ends the consumer: the log is closed."""
        self._ended = True
        self._changed.set()
