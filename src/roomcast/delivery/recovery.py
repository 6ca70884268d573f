"""Keeps delivery running: when it fails or the log restarts, all streams end and resume, and it begins again."""

from __future__ import annotations

import asyncio
import logging

from roomcast import tasks
from roomcast.delivery.hub import Hub
from roomcast.delivery.replay import retry_delay_ms
from roomcast.delivery.streams import Streams
from roomcast.delivery.tail import Tail
from roomcast.log.base import Bounds, Log
from roomcast.model.errors import LogRestarted, LogUnavailable

_WINDOW_MESSAGES = 10_000
"""How many of the newest messages the hub is fed at the start, so that a crowd that comes back after a restart is
served from memory."""
_RETRY_SECONDS = 1.0

logger = logging.getLogger("roomcast.server")


class Recovery:
    """Runs the tail until the log is closed."""

    def __init__(self, log: Log, hub: Hub, tail: Tail, streams: Streams) -> None:
        self._log = log
        self._hub = hub
        self._tail = tail
        self._streams = streams

    async def run(self) -> None:
        """Delivers until the log is closed. Any error but the log's own is a defect: each stream may then have
        missed something, so all end, and resume exactly."""
        while True:
            try:
                return await self._tail.run()
            except LogRestarted as error:
                if self._hub.epoch:  # otherwise the log was never reached, and there is no stream
                    logger.warning(
                        "all streams end and resume by themselves, there is nothing to do: %s", error.detail
                    )
                await self._restart()
                continue
            except Exception:
                logger.exception("delivery failed, all streams end and resume")
            await self.end_streams("error")
            await asyncio.sleep(_RETRY_SECONDS)

    async def end_streams(self, reason: str) -> None:
        """Ends every stream for this `reason`. Its client comes back by itself, each after a random delay."""
        turns = tasks.Turns()
        for stream in list(self._streams.active):
            stream.end(reason, retry_delay_ms())
            await turns.next()

    async def _restart(self) -> None:
        """Begins again where the log is now. All streams are abandoned in the same turn: one that lived on would
        be served from both histories. They are then ended in turns with other work."""
        bounds = await self._bounds()
        # If the history is the same, the tail has met a hole. A start before that hole would again end the
        # streams that come back.
        same = self._log.epoch == self._hub.epoch
        position = bounds.newest if same else first_position(bounds)
        self._hub.restart(self._log.epoch, position, bounds.trimmed, bounds.newest)
        abandoned = self._streams.abandon()
        self._tail.announced = True
        turns = tasks.Turns()
        for stream in abandoned:
            stream.end("error", retry_delay_ms())
            await turns.next()

    async def _bounds(self) -> Bounds:
        while True:
            try:
                bounds = await self._log.bounds()
            except LogUnavailable as error:
                self._tail.note(error.detail)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._tail.note("")
                return bounds


def first_position(bounds: Bounds) -> int:
    """The seq after which the hub is fed when it begins with a log that has these `bounds`."""
    return max(bounds.trimmed, bounds.newest - _WINDOW_MESSAGES)
