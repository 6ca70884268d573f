"""Those who are caught up: an audience is all who follow the same rooms over the same wire, written to in one go.

No I/O of its own: a sink is told bytes and says whether it wants more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from roomcast.delivery.wire import Wire
from roomcast.model.rooms import Selection


class Sink(Protocol):
    """Where a follower's bytes go."""

    @property
    def send(self) -> Callable[[bytes], int]:
        """Takes what it can at once, and says how many bytes that is; the rest is for `write`. Where it raises
        `OSError`, `write` does what is to be done about it. A system call and no more, where there is one: a
        Python function around it was a twentieth of a delivery."""
        ...

    def write(self, data: bytes, start: int = 0) -> bool:
        """Takes all of `data` from `start` on; False where it wants no more until it says so. Never raises. Not a
        part of it: what waits for many slow followers is the same bytes in memory, and counted once."""
        ...


class Follower(Protocol):
    """Whom the hub tells that its sink could not keep up."""

    def fall_behind(self, position: int) -> None:
        """It left its audience with everything up to `position` written."""
        ...


class Audience:
    """All caught-up followers of the same rooms over the same wire."""

    __slots__ = ("live", "position", "selection", "spoke_at", "wire")

    def __init__(self, selection: Selection, wire: Wire) -> None:
        self.selection = selection
        self.wire = wire
        self.live: dict[Sink, Follower] = {}
        self.position = 0
        """What all of `live` were written up to."""
        self.spoke_at = 0.0
        """When they were last written to, in the loop's time."""

    def write(self, data: bytes, sinks: Iterable[Sink] | None = None) -> None:
        """One write to everybody, or to these of them; who cannot take more leaves."""
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
