"""Pieces: runs of messages as encoded bytes, each made once and written to every follower that reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from roomcast.delivery.wire import WIRES, Wire
from roomcast.model.message import Message

PIECE_BYTES = 64 * 1024
"""About how many bytes one write from the window hands to a follower. A page of the log is one write, too, of
about `log.base.PAGE_BYTES`. At most about one write waits in our memory for a slow follower."""
ENTRY_BYTES = 300
"""Bytes that an entry takes besides its body and frames, as measured."""


class Entry:
    """A message and its frames: one per wire, each made when it is first needed."""

    __slots__ = ("_frames", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._frames: list[bytes | None] | None = None

    def frame(self, wire: Wire, epoch: str) -> bytes:
        """The message as bytes of this wire. `epoch` is the log's, for the id."""
        if self._frames is None:
            self._frames = [None] * len(WIRES)
        frame = self._frames[wire.index]
        if frame is None:
            frame = self._frames[wire.index] = wire.message(epoch, self.message)
        return frame


class Piece:
    """Consecutive messages of some rooms, and the position that they reach."""

    __slots__ = ("_joined", "entries", "full", "position")

    def __init__(self, entries: Sequence[Entry], position: int, *, full: bool = False) -> None:
        self.entries = entries
        self.position = position
        self.full = full
        """Whether it ends because of its size. Later messages then belong to the next piece."""
        self._joined: dict[Wire, bytes] = {}

    def frames(self, wire: Wire, epoch: str) -> bytes:
        """All frames for `wire` in one bytes object, which all readers of this piece share. `epoch` is the
        log's."""
        joined = self._joined.get(wire)
        if joined is None:
            joined = self._joined[wire] = b"".join([entry.frame(wire, epoch) for entry in self.entries])
        return joined


def split(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Splits a burst of `entries` into runs, so that no write is much larger than `PIECE_BYTES`."""
    start = size = 0
    for end, entry in enumerate(entries):
        size += len(entry.message.body) + ENTRY_BYTES // 2
        if size >= PIECE_BYTES:
            yield entries[start : end + 1]
            start, size = end + 1, 0
    if start < len(entries):
        yield entries[start:]
