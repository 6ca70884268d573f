"""One follower's stream: attach, replay, seam, live.

A stream is a position. While it is behind, it takes pieces from the hub's window, or pages from the log, as fast
as its sink wants them. At the hub's position it joins the live audience; if its sink then cannot keep up, it is
behind again. All of it runs on one thread, and nothing awaits between "caught up" and "joined": that is the seam.
A stream has no task, no queue and no timer of its own.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from roomcast.delivery.audience import Sink
from roomcast.delivery.gap import Missing, Opening, PendingLosses
from roomcast.delivery.gap_frames import GapFrames
from roomcast.delivery.piece import Piece
from roomcast.delivery.replay import retry_delay_ms
from roomcast.delivery.stream_limits import StreamLimit
from roomcast.delivery.tenure import Holder
from roomcast.delivery.wire import END, RETRY_MS, Wire
from roomcast.log.base import Page
from roomcast.model.message import MessageId
from roomcast.model.rooms import Selection
from roomcast.model.shapes import Live

if TYPE_CHECKING:
    from roomcast.delivery.streams import Streams

_JOINED_BYTES = 16 * 1024
"""Larger parts of a write are written by themselves. Everybody who replays them shares these bytes objects. If
they were joined with others, each slow follower would hold a copy."""
_PIECES_A_TURN = 8
"""How many pieces a stream takes before other tasks may run: a fast client with a long replay must not hold them
up."""
_RENEWAL_MS = (500, 5_000)
"""How long a client waits before it comes back with a new right. A range, so that not all come at once."""


class Connection(Sink, Protocol):
    """A sink that can be ended."""

    stream: Stream | None
    """The stream that it tells when it is writable again, and when it is gone."""

    @property
    def writable(self) -> bool:
        """Whether it takes more now."""
        ...

    def waiting(self) -> int:
        """Bytes that the client has yet to take, in our memory and the kernel's."""
        ...

    def close(self, last: bytes) -> None:
        """Ends after the waiting bytes and `last` are sent."""
        ...

    def abort(self) -> None:
        """Ends at once."""
        ...


class FollowerDetails(Struct, frozen=True, gc=False):
    """Details of a follower and its start, in 185 bytes. Equal names and user agents are shared."""

    number: int
    """The stream's number, in the order in which streams began."""
    since: int
    """When it began, in ms since 1970."""
    address: str
    principal: str
    """The principal's name; empty for a stranger."""
    agent: str


class Stream:
    """The stream of one follower."""

    __slots__ = (
        "_gap",
        "_opening",
        "_pending_losses",
        "_reading",
        "_replayed",
        "_sink",
        "_streams",
        "details",
        "ended",
        "epoch",
        "holder",
        "limit",
        "position",
        "selection",
        "wire",
    )

    def __init__(
        self,
        streams: Streams,
        sink: Connection,
        selection: Selection,
        wire: Wire,
        opening: Opening,
        holder: Holder | None = None,
        limit: StreamLimit | None = None,
    ) -> None:
        self._streams = streams
        self._sink = sink
        self._gap = opening.gap
        """The gap to tell before the next message."""
        self._opening: Opening | None = opening
        """Where it began; None once it has moved on from there."""
        self._pending_losses: PendingLosses | None = None
        """Set once a page of the log was read."""
        self.epoch = opening.epoch
        """The epoch of its position at the start; None: the present one."""
        self._reading = False
        """Whether a page of the log is on its way."""
        self._replayed: int | None = 0
        """Messages sent so far; None once `live` was sent."""
        self.selection = selection
        self.details: FollowerDetails | None = None
        """Details of the follower; None if none were given."""
        self.holder = holder
        """The holder of the right by which the stream goes on; None if the stream depends on no right."""
        self.limit = limit
        """Counts its holder's streams; None if they are not counted."""
        self.wire = wire
        self.position = opening.position
        """The seq up to which everything was written or named in a gap. While the stream is live, its audience's
        position counts."""
        self.ended = False

    def attach(self, head: bytes, *, replaces: bool = False) -> None:
        """Begins: sends the response's `head`, `retry:` and the first messages in one write. A stream that may no
        longer begin is sent away instead. With `replaces`, its holder's older stream ends."""
        self._streams.enter(self, replaces=replaces)
        if reason := self._streams.refusal(self):
            self._send_away(head, reason)
            return
        head += self.wire.retry(RETRY_MS)
        if self._sink.writable:
            self.pump(head)
        else:
            self._sink.write(head)

    def pump(self, head: bytes = b"") -> None:
        """Writes pieces of the window until the stream is caught up, or its sink or this turn has had enough.
        `head` is written before the first piece."""
        for _ in range(_PIECES_A_TURN):
            # pump() may have been scheduled twice, by the sink and by call_soon. By the second run the stream
            # may be live and `position` stale.
            if self not in self._streams.behind or self._reading or not self._sink.writable:
                return
            piece = self._streams.hub.piece_after(self.selection, self.position)
            if piece is None:
                if head:  # at once, since the log may take long
                    self._sink.write(head)
                self._reading = True
                self._streams.replay.read(self)
            elif self._write_piece(piece, head) and self.position == self._streams.hub.position:
                self._streams.join(self, self._sink)
                return
            head = b""
        asyncio.get_running_loop().call_soon(self.pump)

    def take_page(self, piece: Piece, page: Page) -> None:
        """Writes `piece`, the messages of the `page` of the log that `pump` asked for."""
        self._reading = False
        if self not in self._streams.active:
            return
        if self._pending_losses is None:
            self._pending_losses = PendingLosses(self._opening or Opening(self.position))
        self._write_piece(piece, missing=self._pending_losses.missing(page))
        self.pump()

    def fall_behind(self, position: int) -> None:
        """Notes that the sink could not keep up with the audience, which had written everything up to
        `position`."""
        if self not in self._streams.active:  # the log restarted while a heartbeat was written in slices
            return
        self.position = position
        if self._pending_losses:
            self._pending_losses.reach(position)
        self._streams.behind.add(self)

    def end(self, reason: str, retry_ms: int | None = None, last_event: bytes = b"") -> None:
        """Ends the stream. Does nothing if it has ended.

        `reason` is for the metrics and the log. With `retry_ms`, the client gets `last_event` and comes back after
        this time; without it, its connection is cut."""
        if self.ended:
            return
        self.ended = True
        self._streams.depart(self, self._sink, reason)
        if retry_ms is None:
            self._sink.abort()
        else:
            self._sink.close(last_event + self.wire.retry(retry_ms) + self.wire.end)

    def withdraw(self, reason: str) -> None:
        """Ends the stream because its right has ended, or a newer stream of its ticket replaces it. Tells the
        client the `reason`. With a new right, the client resumes exactly."""
        hub = self._streams.hub
        position = self.position if self in self._streams.behind else hub.position
        data = msgspec.json.encode({"reason": reason})
        last_event = self.wire.event(END, MessageId(hub.epoch, position), data)
        if self._gap:  # the client resumes after the gap, and would never be told
            last_event = self._gap_frames().at(self._gap, position) + last_event
        self.end(reason, retry_delay_ms(*_RENEWAL_MS), last_event)

    def connection_lost(self, reason: str) -> None:
        """Notes that the connection is gone, whichever side ended it; `reason` is for the metrics and the log."""
        self.end(reason)
        self._streams.closed(self._sink)

    def waiting(self) -> int:
        """Bytes that the client has yet to take, at least 1; 0 if it is the stream that waits, for the log."""
        return 0 if self._sink.writable else max(1, self._sink.waiting())

    def write_heartbeat(self) -> None:
        """Writes a heartbeat, while the stream waits for the log."""
        self._sink.write(self.wire.heartbeat)

    def _send_away(self, head: bytes, reason: str) -> None:
        if head:
            self._sink.write(head)
        self.end(reason, retry_delay_ms())

    def _write_piece(self, piece: Piece, head: bytes = b"", missing: Sequence[Missing] = ()) -> bool:
        """Writes a piece with the gaps around it and moves on. Returns whether the sink takes more."""
        hub = self._streams.hub
        is_last = piece.position >= hub.position
        parts = [head] if head else []
        if missing or self._gap:
            frames, self._gap = self._gap_frames().render(piece, missing, self._gap, is_last=is_last)
            parts += frames
        elif piece.entries:
            parts.append(piece.frames(self.wire, hub.epoch))
        if self._pending_losses:
            self._pending_losses.reach(piece.position)
        self._opening = None
        self.position = piece.position
        if self._replayed is not None:
            self._replayed += len(piece.entries)
            if is_last:
                parts.append(_live_frame(self.wire, hub.epoch, self.position, self._replayed, self._expires_in()))
                self._replayed = None
        return not parts or self._write(parts)

    def _write(self, parts: Sequence[bytes]) -> bool:
        """Writes them all, small ones together. Returns whether the sink takes more."""
        takes_more = True
        for large, some in groupby(parts, lambda part: len(part) > _JOINED_BYTES):
            for data in some if large else [b"".join(some)]:
                takes_more = self._sink.write(data)
        return takes_more

    def _expires_in(self) -> int | None:
        """Whole seconds until its right ends. A duration, as the client's clock may be wrong."""
        until = None if self.holder is None else self.holder.until
        return None if until is None else max(0, math.floor(until - time.time()))

    def _gap_frames(self) -> GapFrames:
        streams = self._streams
        return GapFrames(self.wire, streams.hub.epoch, self.selection.prefixes, streams.count_gap)


@lru_cache(64)
def _live_frame(wire: Wire, epoch: str, position: int, replayed: int, expires_in: int | None) -> bytes:
    """Cached, since a crowd that comes at once is told the same."""
    live = Live(replayed, expires_in)
    return wire.event("live", MessageId(epoch, position), msgspec.json.encode(live))
