"""The one timer of all streams: heartbeats for the silent, and an end for those that take nothing."""

from __future__ import annotations

import asyncio
import logging
import time

from roomcast import tasks
from roomcast.delivery.audience import Audience
from roomcast.delivery.stream import Stream, Streams
from roomcast.delivery.tenure import Held

_SLICE = 50
"""Followers written to at once. Others have the loop in between: 15,000 heartbeats in one go would hold up a
message."""

logger = logging.getLogger("roomcast.streams")


class Heartbeat:
    """Looks at every audience, and at every stream that is behind, once a step."""

    def __init__(self, streams: Streams, heartbeat: float, slow_after: float) -> None:
        self._streams = streams
        self._step = min(1.0, heartbeat / 5)
        # A beat early: this timer's own step and a busy loop come on top, and 15 s are promised.
        self._silence = heartbeat * 0.7
        self._patience = slow_after
        self._seen: dict[Stream, tuple[int, int, float]] = {}
        """For each stream that is behind: its position, the bytes that waited, and for how long both have been the
        same. The bytes alone could be the same by chance, as pieces of one size follow each other. Counted in
        steps, so that a process that was stopped (SIGSTOP) does not blame its clients."""

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._step)
            try:
                await self._look()
            except Exception:  # a defect, and no reason to leave all streams without it for ever
                logger.exception("the look at all streams failed")

    async def _look(self) -> None:
        turns = tasks.Turns()
        await self._watch(turns)
        await self._end_tenures(turns)
        await self._end_revoked(turns)
        now = asyncio.get_running_loop().time()
        for audience in list(self._streams.hub.audiences.values()):
            if now - audience.spoke_at >= self._silence:
                audience.spoke_at = now
                await self._beat(audience, turns)
            await turns.next()

    async def _end_tenures(self, turns: tasks.Turns) -> None:
        """Ends the streams whose right has ended; 5,000 may be of one second."""
        for stream in self._streams.tenures.ended(time.time()):
            _withdraw(stream, "expired")
            await turns.next()

    async def _end_revoked(self, turns: tasks.Turns) -> None:
        """Ends the streams that the new rights no longer allow."""
        if not self._streams.doubted:
            return
        self._streams.doubted = False  # first, so that rights that change meanwhile are checked in the next step
        for stream in list(self._streams.active):
            if not self._streams.may_go_on(stream):
                _withdraw(stream, "revoked")
            await turns.next()

    async def _beat(self, audience: Audience, turns: tasks.Turns) -> None:
        sinks = list(audience.live)
        for start in range(0, len(sinks), _SLICE):
            part = [sink for sink in sinks[start : start + _SLICE] if sink in audience.live]
            audience.write(audience.wire.heartbeat, part)
            await turns.next()

    async def _watch(self, turns: tasks.Turns) -> None:
        seen: dict[Stream, tuple[int, int, float]] = {}
        for stream in list(self._streams.behind):
            await turns.next()
            if stream not in self._streams.behind:  # caught up, or gone, meanwhile
                continue
            waiting = stream.waiting()
            *before, held = self._seen.get(stream, (stream.position, waiting, 0.0))
            held = held + self._step if before == [stream.position, waiting] else 0.0
            if waiting and held >= self._patience:
                stream.end("slow")
                continue
            if not waiting and held >= self._silence:
                held = 0.0
                stream.beat()
            seen[stream] = (stream.position, waiting, held)
        self._seen = seen
        oldest = min((position for position, *_ in seen.values()), default=self._streams.hub.position)
        self._streams.farthest_behind = max(0, self._streams.hub.position - oldest)


def _withdraw(stream: Held, reason: str) -> None:
    try:
        stream.withdraw(reason)
    except Exception:  # a defect; all other streams must still be ended
        logger.exception("a stream cannot be told that its right has ended")
