"""Turns a piece into frames, together with the gaps that must be told around its messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from roomcast.delivery.gap import Missing, PendingGap, widened
from roomcast.delivery.piece import Piece
from roomcast.delivery.wire import Wire
from roomcast.model.message import MessageId


class GapFrames(NamedTuple):
    """Frames for one stream."""

    wire: Wire
    epoch: str
    prefixes: Sequence[str]
    """The prefixes that the stream follows."""
    told: Callable[[PendingGap], None]
    """Called for each gap that is told."""

    def render(
        self, piece: Piece, missing: Sequence[Missing], gap: PendingGap | None, *, is_last: bool
    ) -> tuple[list[bytes], PendingGap | None]:
        """Returns the frames of `piece`, with each loss told before the first message after it, and the gap that
        is still to be told.

        `missing` is in order of `last`, `gap` is left from the pieces before. A loss after the last message waits
        for the next piece unless `is_last`: more may be lost before the next piece's first message, and there is
        at most one gap between two messages."""
        parts: list[bytes] = []
        start = first = 0
        for index, entry in enumerate(piece.entries):
            seq, end = entry.message.seq, first
            while end < len(missing) and missing[end].last < seq:
                end += 1
            if end > first or gap:
                parts += self._messages(piece, start, index)
                gap = widened(gap, self.epoch, missing[first:end], self.prefixes)
                parts.append(self._before(gap, seq))
                gap, start, first = None, index, end
        parts += self._messages(piece, start, len(piece.entries))
        gap = widened(gap, self.epoch, missing[first:], self.prefixes)
        if gap and is_last:
            parts.append(self.at(gap, piece.position))
            gap = None
        return parts, gap

    def at(self, gap: PendingGap, position: int) -> bytes:
        """The frame of `gap` at the seq `position`, after which there is no message yet."""
        self.told(gap)
        return self.wire.event("gap", MessageId(self.epoch, position), gap.data(None))

    def _before(self, gap: PendingGap | None, seq: int) -> bytes:
        assert gap
        self.told(gap)
        return self.wire.event("gap", MessageId(self.epoch, seq - 1), gap.data(MessageId(self.epoch, seq)))

    def _messages(self, piece: Piece, start: int, end: int) -> list[bytes]:
        if end - start == len(piece.entries) > 0:
            return [piece.frames(self.wire, self.epoch)]  # the same bytes as for all other readers
        run = piece.entries[start:end]
        return [b"".join([entry.frame(self.wire, self.epoch) for entry in run])] if run else []
