"""The one timer of all streams: it writes heartbeats, and ends streams that are slow or have lost their right."""

from __future__ import annotations

import asyncio
import logging
import time

from roomcast import tasks
from roomcast.delivery.audience import Audience
from roomcast.delivery.stream import Stream
from roomcast.delivery.streams import Streams
from roomcast.delivery.tenure import HeldStream

_SLICE = 50
"""How many followers are written to before other tasks may run: 15,000 heartbeats at once would delay a
message."""

logger = logging.getLogger("roomcast.streams")


class Heartbeat:
    """Looks at every audience, and at every stream that is behind, once a step."""

    def __init__(self, streams: Streams, heartbeat: float, slow_after: float) -> None:
        """`heartbeat` is the longest silence, `slow_after` the longest time in which a client takes nothing, both
        in seconds."""
        self._streams = streams
        self._step = min(1.0, heartbeat / 5)
        # Early, since this timer's step and a busy loop add to it, and the user was promised `heartbeat` seconds.
        self._silence = heartbeat * 0.7
        self._patience = slow_after
        self._seen: dict[Stream, tuple[int, int, float]] = {}
        """For each stream that is behind: its position, its waiting bytes, and for how many seconds both have been
        the same. The bytes alone may be the same by chance, when pieces of one size follow each other. The seconds
        are counted in steps, so that a process that was stopped (SIGSTOP) does not blame its clients."""

    async def run(self) -> None:
        """Looks once a step, for ever."""
        while True:
            await asyncio.sleep(self._step)
            try:
                await self._look()
            except Exception:  # a defect; the other streams still need their heartbeats
                logger.exception("a heartbeat failed, and is tried again in the next step")

    async def _look(self) -> None:
        turns = tasks.Turns()
        await self._watch(turns)
        await self._end_tenures(turns)
        await self._end_revoked(turns)
        now = asyncio.get_running_loop().time()
        for audience in list(self._streams.hub.audiences.values()):
            if now - audience.written_at >= self._silence:
                audience.written_at = now
                await self._beat(audience, turns)
            await turns.next()

    async def _end_tenures(self, turns: tasks.Turns) -> None:
        """Ends the streams whose right has ended. 5,000 may end in the same second."""
        for stream in self._streams.tenures.ended(time.time()):
            _withdraw(stream, "expired")
            await turns.next()

    async def _end_revoked(self, turns: tasks.Turns) -> None:
        """Ends the streams that the new rights no longer allow."""
        if not self._streams.rights_changed:
            return
        self._streams.rights_changed = False  # first: a change during this check is then seen in the next step
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
            if stream not in self._streams.behind:  # it has caught up, or ended
                continue
            waiting = stream.waiting()
            *before, unchanged = self._seen.get(stream, (stream.position, waiting, 0.0))
            unchanged = unchanged + self._step if before == [stream.position, waiting] else 0.0
            if waiting and unchanged >= self._patience:
                stream.end("slow")
                continue
            if not waiting and unchanged >= self._silence:
                unchanged = 0.0
                stream.write_heartbeat()
            seen[stream] = (stream.position, waiting, unchanged)
        self._seen = seen
        oldest = min((position for position, *_ in seen.values()), default=self._streams.hub.position)
        self._streams.farthest_behind = max(0, self._streams.hub.position - oldest)


def _withdraw(stream: HeldStream, reason: str) -> None:
    try:
        stream.withdraw(reason)
    except Exception:  # a defect; all other streams must still be ended
        logger.exception("a stream whose right has ended could not be ended")
