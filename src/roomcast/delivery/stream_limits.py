"""How many streams each principal has, for principals with a limit.

All streams of a principal share one `StreamLimit`, which lives as long as one of them. So nothing is kept for
principals without streams.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakValueDictionary

from roomcast.delivery.counts import Counts


class StreamLimit:
    """The number of streams that one principal has, and may have."""

    __slots__ = ("__weakref__", "_home", "_name", "_streams", "allowed", "kind")

    def __init__(self, home: StreamLimits, name: str) -> None:
        self._home = home
        self._name = name
        self._streams = 0
        self.allowed = 0
        """How many streams the principal may have."""
        self.kind = ""
        """The kind of principal, for the metrics."""

    @property
    def streams(self) -> int:
        """The number of the principal's streams in this process."""
        return self._streams

    @streams.setter
    def streams(self, number: int) -> None:
        """Sets the number, and records it for the other workers."""
        self._streams = number
        if self._home.counts is not None:
            self._home.counts.set(self._name, number)

    @property
    def is_exceeded(self) -> bool:
        """Whether the principal has more streams than it may, over all workers of this server."""
        return self._streams + self._home.elsewhere(self._name) > self.allowed


class StreamLimits:
    """The limits of all principals that have streams, by name."""

    def __init__(self) -> None:
        self._limits: WeakValueDictionary[str, StreamLimit] = WeakValueDictionary()
        self.counts: Counts | None = None
        """Each principal's number of streams, for the other workers; None if there are no other workers."""
        self.elsewhere: Callable[[str], int] = lambda name: 0
        """Returns a principal's number of streams at the other workers."""

    def of(self, name: str, allowed: int, kind: str) -> StreamLimit:
        """Returns the limit of the principal `name`, which may have `allowed` streams from now on. `kind` is its
        kind, for the metrics."""
        limit = self._limits.get(name)
        if limit is None:
            limit = self._limits[name] = StreamLimit(self, name)
        limit.allowed, limit.kind = allowed, kind
        return limit
