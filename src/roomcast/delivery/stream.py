"""One subscription: attach, replay, seam, live.

A stream is a position. While it is behind it takes pieces from the hub's window, or pages from the log, as
fast as its sink wants them; at the hub's position it joins the live audience, and if its sink cannot keep up
it is behind again. All of it runs on one thread and nothing awaits between "caught up" and "joined": that is
the seam. A stream has no task, no queue and no timer of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from roomcast import tasks
from roomcast.delivery.audience import Sink
from roomcast.delivery.followed import FollowedRooms
from roomcast.delivery.gap import Gap, Missing, Opening, Owed, widened
from roomcast.delivery.hub import Hub, Piece
from roomcast.delivery.replay import Replay, retry_delay_ms
from roomcast.delivery.seats import Seat, Seats
from roomcast.delivery.tenure import Holder, Tenures
from roomcast.delivery.wire import END, RETRY_MS, Wire
from roomcast.log.base import Log, Page
from roomcast.model.message import MessageId
from roomcast.model.rooms import Selection
from roomcast.model.shapes import Live

_JOINED_BYTES = 16 * 1024
"""Parts of a write that are larger go out by themselves."""
_PIECES_A_TURN = 8
"""After so many a stream lets others have the loop: a fast client replaying much is no reason to wait."""


Judge = Callable[[Holder, Selection], bool]
"""Tells whether a holder may still follow these rooms."""
_RENEWAL_MS = (500, 5_000)
"""How long the client of a stream whose right has ended waits before it comes with another: not all at once."""

logger = logging.getLogger("roomcast.streams")


class Connection(Sink, Protocol):
    """A sink that can be ended."""

    stream: Stream | None
    """Whom it tells that it wants more again, and that it is no more."""

    @property
    def writable(self) -> bool:
        """Whether it wants more now."""
        ...

    def waiting(self) -> int:
        """Bytes taken and not yet taken by the client, our own and the kernel's."""
        ...

    def close(self, last: bytes) -> None:
        """Sends what waits, then `last`, then ends."""
        ...

    def abort(self) -> None:
        """Ends at once."""
        ...


class Visit(Struct, frozen=True, gc=False):
    """The follower and its start, in 185 bytes. Equal names and user agents are shared."""

    number: int
    """The stream's number, in order of their beginnings."""
    since: int
    """In ms since 1970."""
    address: str
    principal: str
    """The principal's name; empty for a stranger."""
    agent: str


class Stream:
    """One subscription."""

    __slots__ = (
        "_gap",
        "_home",
        "_opening",
        "_owed",
        "_reading",
        "_replayed",
        "_sink",
        "ended",
        "epoch",
        "holder",
        "position",
        "seat",
        "selection",
        "visit",
        "wire",
    )

    def __init__(
        self,
        home: Streams,
        sink: Connection,
        selection: Selection,
        wire: Wire,
        opening: Opening,
        holder: Holder | None = None,
        seat: Seat | None = None,
    ) -> None:
        self._home = home
        self._sink = sink
        self._gap = opening.gap
        """What is to be told before the next message."""
        self._opening: Opening | None = opening
        """Where it began; None once it went on from there."""
        self._owed: Owed | None = None
        """Set once a page of the log was read."""
        self.epoch = opening.epoch
        """The epoch of its position at the start; None: the present one."""
        self._reading = False
        """Whether a page of the log is on its way."""
        self._replayed: int | None = 0
        """Messages sent so far; None once `live` was told."""
        self.selection = selection
        self.visit: Visit | None = None
        """Details of the follower; None if none were given."""
        self.holder = holder
        """Whose right it goes on by; None where there is nothing to end it."""
        self.seat = seat
        """The seat that counts its holder's streams; None if they are not counted."""
        self.wire = wire
        self.position = opening.position
        """Everything up to here was written or named in a gap; while live, the audience's counts."""
        self.ended = False

    def attach(self, head: bytes, *, replaces: bool = False) -> None:
        """Sends the head and what is there, in one write; `retry:` belongs to the first block. A stream that
        may not begin any more is sent away instead. With `replaces`, its holder's older stream ends."""
        self._home.enter(self, replaces=replaces)
        if reason := self._home.refusal(self):
            self._refuse(head, reason)
            return
        head += self.wire.retry(RETRY_MS)
        if self._sink.writable:
            self.pump(head)
        else:
            self._sink.write(head)

    def _refuse(self, head: bytes, reason: str) -> None:
        if head:
            self._sink.write(head)
        self.end(reason, retry_delay_ms())

    def pump(self, head: bytes = b"") -> None:
        """Serves the follower from the window until it is caught up or has enough for now."""
        for _ in range(_PIECES_A_TURN):
            # pump() may have been scheduled twice, by the sink and by call_soon. By the second run the stream
            # may be live and `position` stale.
            if self not in self._home.behind or self._reading or not self._sink.writable:
                return
            piece = self._home.hub.window(self.selection, self.position)
            if piece is None:
                if head:  # at once, however long the log may take
                    self._sink.write(head)
                self._reading = True
                self._home.reader.read(self)
            elif self._advance(piece, head) and self.position == self._home.hub.position:
                self._home.join(self, self._sink)
                return
            head = b""
        asyncio.get_running_loop().call_soon(self.pump)

    def turn(self, piece: Piece, page: Page) -> None:
        """A page of the log that `pump` asked for."""
        self._reading = False
        if self not in self._home.active:
            return
        if self._owed is None:
            began = self._opening or Opening(self.position)
            self._owed = Owed(self.position, exact=began.exact, named=began.named, before=began.before)
        self._advance(piece, missing=self._owed.missing(page))
        self.pump()

    def fall_behind(self, position: int) -> None:
        """Its sink could not keep up with the audience."""
        if self not in self._home.active:  # the log began anew while its audience's heartbeats were on their way
            return
        self.position = position
        if self._owed:
            self._owed.reach(position)
        self._home.behind.add(self)

    def end(self, reason: str, retry_ms: int | None = None, told: bytes = b"") -> None:
        """Lets go. `reason` is for the metrics; `retry_ms` tells the client to come back then, and `told` is what
        it is told before."""
        if self.ended:
            return
        self.ended = True
        self._home.depart(self, self._sink, reason)
        if retry_ms is None:
            self._sink.abort()
        else:
            self._sink.close(told + self.wire.retry(retry_ms) + self.wire.end)

    def withdraw(self, reason: str) -> None:
        """Ends as its right has ended. Its client is told why, and resumes exactly if it comes with another."""
        hub = self._home.hub
        position = self.position if self in self._home.behind else hub.position
        id = MessageId(hub.epoch, position)
        told = self.wire.event(END, id, msgspec.json.encode({"reason": reason}))
        if self._gap:  # its client resumes behind it, and would never be told
            self._home.count_gap(self._gap)
            told = self.wire.event("gap", id, self._gap.data(None)) + told
        self.end(reason, retry_delay_ms(*_RENEWAL_MS), told)

    def lost(self, reason: str) -> None:
        """Its connection is no more, whoever ended it."""
        self.end(reason)
        self._home.closed(self._sink)

    def waiting(self) -> int:
        """How many bytes its client has yet to take; 0 where it is the stream that waits, for the log."""
        return 0 if self._sink.writable else max(1, self._sink.waiting())

    def beat(self) -> None:
        """A sign of life while it waits for the log."""
        self._sink.write(self.wire.heartbeat)

    def _advance(self, piece: Piece, head: bytes = b"", missing: Sequence[Missing] = ()) -> bool:
        """Writes a piece with what must be told around it; whether the sink wants more."""
        hub = self._home.hub
        parts = [head] if head else []
        if missing or self._gap:
            parts += self._with_gaps(piece, missing)
        elif piece.entries:
            parts.append(piece.frames(self.wire, hub.epoch))
        if self._owed:
            self._owed.reach(piece.position)
        self._opening = None
        self.position = piece.position
        if self._replayed is not None:
            self._replayed += len(piece.entries)
            if self.position >= hub.position:
                parts.append(_live_frame(self.wire, hub.epoch, self.position, self._replayed, self._expires_in()))
                self._replayed = None
        return self._write(parts) if parts else self._sink.writable

    def _write(self, parts: Sequence[bytes]) -> bool:
        """In one write, but for large parts. These are the same bytes for all who replay: joined with others,
        each slow follower would hold a copy."""
        wants_more = True
        for large, some in groupby(parts, lambda part: len(part) > _JOINED_BYTES):
            for data in some if large else [b"".join(some)]:
                wants_more = self._sink.write(data)
        return wants_more

    def _expires_in(self) -> int | None:
        """Whole seconds until its right ends: a duration, as its client's clock may be wrong."""
        until = None if self.holder is None else self.holder.until
        return None if until is None else max(0, math.floor(until - time.time()))

    def _with_gaps(self, piece: Piece, missing: Sequence[Missing]) -> Iterator[bytes]:
        """The piece, and each loss before the first message that comes behind it."""
        epoch, entries, start, told = self._home.hub.epoch, piece.entries, 0, 0
        for number, entry in enumerate(entries):
            seq = entry.message.seq
            due = told
            while due < len(missing) and missing[due].last < seq:
                due += 1
            if due > told or self._gap:
                yield from self._frames(piece, start, number)
                yield self._gap_frame(missing[told:due], seq)
                start, told = number, due
        yield from self._frames(piece, start, len(entries))
        # What is missing behind the last message of a page waits for the next piece: more may be lost before its
        # first message, and at most one gap stands between two messages.
        self._gap = widened(self._gap, epoch, missing[told:], self.selection.prefixes)
        if self._gap and piece.position >= self._home.hub.position:
            data = self._count(self._gap).data(None)
            self._gap = None
            yield self.wire.event("gap", MessageId(epoch, piece.position), data)

    def _frames(self, piece: Piece, start: int, end: int) -> Iterator[bytes]:
        epoch = self._home.hub.epoch
        if end - start == len(piece.entries) > 0:
            yield piece.frames(self.wire, epoch)
        elif start < end:
            yield b"".join([entry.frame(self.wire, epoch) for entry in piece.entries[start:end]])

    def _gap_frame(self, missing: Sequence[Missing], seq: int) -> bytes:
        """The gap before a message."""
        epoch = self._home.hub.epoch
        gap = widened(self._gap, epoch, missing, self.selection.prefixes)
        assert gap
        self._gap = None
        return self.wire.event("gap", MessageId(epoch, seq - 1), self._count(gap).data(MessageId(epoch, seq)))

    def _count(self, gap: Gap) -> Gap:
        self._home.count_gap(gap)
        return gap


@lru_cache(64)
def _live_frame(wire: Wire, epoch: str, position: int, replayed: int, expires_in: int | None) -> bytes:
    """A crowd that comes at once is told the same."""
    live = Live(replayed, expires_in)
    return wire.event("live", MessageId(epoch, position), msgspec.json.encode(live))


class Streams:
    """All streams of this process: who is behind, who comes and goes, and why."""

    def __init__(self, log: Log, hub: Hub) -> None:
        self.hub = hub
        self.reader = Replay(log, hub)
        self.active: set[Stream] = set()
        self.followed = FollowedRooms()
        self.tenures = Tenures()
        self.judge: Judge | None = None
        """Checks streams that were accepted before the rights changed; None if the rights never changed."""
        self.doubted = False
        """Whether each stream must be checked again."""
        self.seats = Seats()
        self.limited: Counter[str] = Counter()
        """Streams that were refused because their holders had too many, by kind of principal."""
        self.behind: set[Stream] = set()
        self.farthest_behind = 0
        """How many messages of the log the slowest stream has yet to pass, as last measured."""
        self.draining = False
        """Whether every stream ends, and none may begin."""
        self.opened = 0
        self.endings: dict[str, int] = {}
        self._closing: set[Connection] = set()
        """Connections whose last bytes are on their way."""
        self._closed = asyncio.Event()
        self.gaps: dict[str, int] = {}

    def enter(self, stream: Stream, *, replaces: bool) -> None:
        """A stream starts, behind as all do."""
        self.opened += 1
        self.active.add(stream)
        self.followed.add(stream.selection)
        self.behind.add(stream)
        if stream.seat:
            stream.seat.taken += 1
        # Its holder's older stream frees its seat.
        self.tenures.enter(stream, replaces=replaces, now=time.time())

    def lag(self, stream: Stream) -> int:
        """How many messages of the log a stream has yet to pass; 0 if it is caught up."""
        return max(0, self.hub.position - stream.position) if stream in self.behind else 0

    def doubt(self, judge: Judge) -> None:
        """The rights have changed: ends each stream that they no longer allow."""
        self.judge, self.doubted = judge, True

    def may_go_on(self, stream: Stream) -> bool:
        """Whether the right with which a stream began is still valid."""
        return self.judge is None or stream.holder is None or self.judge(stream.holder, stream.selection)

    def abandon(self) -> Collection[Stream]:
        """All streams, none of which is served any more: each is to be ended."""
        abandoned, self.active, self.behind = self.active, set(), set()
        return abandoned

    def refusal(self, stream: Stream) -> str:
        """Why a stream that took a while to find its start may not begin; empty if it may."""
        if self.draining:
            return "drain"
        if stream.epoch not in (None, self.hub.epoch):
            return "error"
        if not self.may_go_on(stream):
            return "revoked"
        if stream.seat and stream.seat.is_over:
            self.limited[stream.seat.kind] += 1
            return "limit"
        return ""

    def join(self, stream: Stream, sink: Sink) -> None:
        """A stream is caught up."""
        self.behind.discard(stream)
        self.hub.join(stream.selection, stream.wire, sink, stream, asyncio.get_running_loop().time())

    def depart(self, stream: Stream, sink: Connection, reason: str) -> None:
        """A stream ends."""
        self._closing.add(sink)
        self.active.discard(stream)
        self.followed.drop(stream.selection)
        self.tenures.leave(stream)
        if stream.seat:
            stream.seat.taken -= 1
        self.behind.discard(stream)
        self.hub.leave(stream.selection, stream.wire, sink)
        self.endings[reason] = self.endings.get(reason, 0) + 1
        if logger.isEnabledFor(logging.INFO):
            fields: dict[str, Any] = {"rooms": stream.selection.texts(), "reason": reason}
            logger.info("a stream of %s ended: %s", ", ".join(fields["rooms"]), reason, extra={"fields": fields})

    def count_gap(self, gap: Gap) -> None:
        """A client was told of a gap."""
        self.gaps[gap.reason] = self.gaps.get(gap.reason, 0) + 1

    def closed(self, sink: Connection) -> None:
        """A connection is gone."""
        self._closing.discard(sink)
        if not self._closing:
            self._closed.set()

    async def flushed(self, seconds: float) -> None:
        """Waits until every ended stream's last bytes are taken; cuts those that are not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._closing:
                    self._closed.clear()
                    await self._closed.wait()
        turns = tasks.Turns()
        for sink in list(self._closing):
            sink.abort()
            await turns.next()
