"""All streams of this process: which are behind, which begin and end, and why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from roomcast import tasks
from roomcast.delivery.audience import Sink
from roomcast.delivery.followed import FollowedRooms
from roomcast.delivery.gap import PendingGap
from roomcast.delivery.hub import Hub
from roomcast.delivery.replay import Replay
from roomcast.delivery.stream import Connection, Stream
from roomcast.delivery.stream_limits import StreamLimits
from roomcast.delivery.tenure import Holder, Tenures
from roomcast.log.base import Log
from roomcast.model.rooms import Selection

MayFollow = Callable[[Holder, Selection], bool]
"""Returns whether a holder may still follow these rooms."""

logger = logging.getLogger("roomcast.streams")


class Streams:
    """All streams of this process."""

    def __init__(self, log: Log, hub: Hub) -> None:
        self.hub = hub
        self.replay = Replay(log, hub)
        self.active: set[Stream] = set()
        self.followed = FollowedRooms()
        self.tenures = Tenures()
        self.rights_changed = False
        """Whether each stream must be checked again."""
        self._may_follow: MayFollow | None = None
        """Checks streams that began before the rights changed; None if the rights never changed."""
        self.limits = StreamLimits()
        self.limited: Counter[str] = Counter()
        """How many streams were refused because their holders had too many, by kind of principal."""
        self.behind: set[Stream] = set()
        self.farthest_behind = 0
        """How many messages of the log the slowest stream has yet to pass, as last measured."""
        self.logs_ends = True
        """Whether the end of each stream is logged."""
        self.draining = False
        """Whether every stream ends, and none may begin."""
        self.opened = 0
        """How many streams have begun."""
        self.endings: Counter[str] = Counter()
        """How many streams have ended, by reason."""
        self.gaps: Counter[str] = Counter()
        """How many gaps were told, by reason."""
        self._closing: set[Connection] = set()
        """Connections that have yet to send their last bytes."""
        self._closed = asyncio.Event()

    def enter(self, stream: Stream, *, replaces: bool) -> None:
        """Adds `stream`, which begins, and is behind at first. With `replaces`, its holder's older stream ends."""
        self.opened += 1
        self.active.add(stream)
        self.followed.add(stream.selection.rooms)
        self.behind.add(stream)
        if stream.limit:
            stream.limit.streams += 1
        # This may end its holder's older stream, which makes room for this one.
        self.tenures.enter(stream, replaces=replaces, now=time.time())

    def lag(self, stream: Stream) -> int:
        """How many messages of the log a stream has yet to pass; 0 if it is caught up."""
        return max(0, self.hub.position - stream.position) if stream in self.behind else 0

    def recheck(self, may_follow: MayFollow) -> None:
        """Notes that the rights have changed: the heartbeat ends each stream that `may_follow` no longer
        allows."""
        self._may_follow, self.rights_changed = may_follow, True

    def may_go_on(self, stream: Stream) -> bool:
        """Whether the right with which a stream began is still valid."""
        if self._may_follow is None or stream.holder is None:
            return True
        return self._may_follow(stream.holder, stream.selection)

    def abandon(self) -> Collection[Stream]:
        """Stops serving all streams, and returns them: the caller must end each."""
        abandoned, self.active, self.behind = self.active, set(), set()
        return abandoned

    def refusal(self, stream: Stream) -> str:
        """Why a stream may not begin, although its request was accepted before; empty if it may."""
        if self.draining:
            return "drain"
        if stream.epoch not in (None, self.hub.epoch):
            return "error"
        if not self.may_go_on(stream):
            return "revoked"
        if stream.limit and stream.limit.is_exceeded:
            self.limited[stream.limit.kind] += 1
            return "limit"
        return ""

    def join(self, stream: Stream, sink: Sink) -> None:
        """Makes `stream`, which is caught up, live: its audience writes to `sink`."""
        self.behind.discard(stream)
        self.hub.join(stream.selection, stream.wire, sink, stream, asyncio.get_running_loop().time())

    def depart(self, stream: Stream, sink: Connection, reason: str) -> None:
        """Removes `stream`, which ends, and counts and logs the `reason`. `sink` counts as closing until
        `closed`."""
        self._closing.add(sink)
        self.active.discard(stream)
        self.followed.drop(stream.selection.rooms)
        self.tenures.leave(stream)
        if stream.limit:
            stream.limit.streams -= 1
        self.behind.discard(stream)
        self.hub.leave(stream.selection, stream.wire, sink)
        self.endings[reason] += 1
        if self.logs_ends and logger.isEnabledFor(logging.INFO):
            fields: dict[str, Any] = {"rooms": stream.selection.texts(), "reason": reason}
            logger.info("a stream of %s ended: %s", ", ".join(fields["rooms"]), reason, extra={"fields": fields})

    def count_gap(self, gap: PendingGap) -> None:
        """Counts a gap that is told to a client."""
        self.gaps[gap.reason] += 1

    def closed(self, sink: Connection) -> None:
        """Notes that the connection `sink` is gone."""
        self._closing.discard(sink)
        self._closed.set()

    async def flushed(self, seconds: float) -> None:
        """Returns when the clients have taken the last bytes of all ended streams. After `seconds` it cuts those
        that have not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._closing:
                    self._closed.clear()
                    await self._closed.wait()
        turns = tasks.Turns()
        for sink in list(self._closing):
            sink.abort()
            await turns.next()
