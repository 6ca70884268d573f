"""An audience: all caught-up followers of the same rooms over the same wire. They get the same bytes.

No I/O here: a sink takes bytes, and says whether it takes more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from roomcast.delivery.wire import Wire
from roomcast.model.rooms import Selection


class Sink(Protocol):
    """Takes a follower's bytes."""

    @property
    def send(self) -> Callable[[bytes], int]:
        """A function that takes as many bytes as it can at once, and returns how many; the caller gives the rest
        to `write`. If it raises `OSError`, `write` handles the cause. For a socket it is the system call itself: a
        Python function around it took a twentieth of a delivery."""
        ...

    def write(self, data: bytes, start: int = 0) -> bool:
        """Takes all of `data` from the index `start` on. Returns False if it takes no more for now; the sink later
        tells when it does. Never raises. Gets the whole object, not a slice: bytes that wait for many slow
        followers are then in memory once, and are counted once."""
        ...


class SinkOwner(Protocol):
    """Owns a sink, and is told when it cannot keep up."""

    def fall_behind(self, position: int) -> None:
        """Called when the sink has left its audience. Everything up to the seq `position` was written to it."""
        ...


class Audience:
    """All caught-up followers of the same rooms over the same wire."""

    __slots__ = ("live", "position", "selection", "wire", "written_at")

    def __init__(self, selection: Selection, wire: Wire) -> None:
        self.selection = selection
        self.wire = wire
        self.live: dict[Sink, SinkOwner] = {}
        self.position = 0
        """The seq up to which everything was written to all of `live`."""
        self.written_at = 0.0
        """The loop's time of the last write."""

    def write(self, data: bytes, sinks: Iterable[Sink] | None = None) -> None:
        """Writes `data` to all live sinks, or to `sinks` of them. A sink that takes no more leaves the
        audience."""
        size = len(data)
        behind = []
        for sink in self.live if sinks is None else sinks:
            try:
                sent = sink.send(data)
            except OSError:
                sent = 0
            if sent != size and not sink.write(data, sent):
                behind.append(sink)
        for sink in behind:
            self.live.pop(sink).fall_behind(self.position)
