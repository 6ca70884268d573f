"""How long something takes, counted by size, as Prometheus' histograms are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper ends of the counts. The first are those of a fast disk, the last that of a client's patience."""


class Histogram:
    """Counts of times. To observe one is a search among 15 numbers and two additions."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0
        """Seconds of all that was observed."""

    def observe(self, seconds: float) -> None:
        """Something took so long."""
        self._counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """How many were observed."""
        return sum(self._counts)

    def buckets(self) -> Sequence[tuple[str, int]]:
        """For each upper end, as text, how many took no longer."""
        ends = [*(f"{end:g}" for end in SECONDS), "+Inf"]
        return list(zip(ends, accumulate(self._counts), strict=True))
