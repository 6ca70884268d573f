"""A histogram of durations, in the form of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets in seconds. The first ones fit a fast disk, the last one a client's patience."""


class Histogram:
    """Counts of durations. Observing one costs a search among 15 numbers and two additions."""

    __slots__ = ("_counts", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS) + 1)
        self.sum = 0.0
        """The sum of all observed seconds."""

    def observe(self, seconds: float) -> None:
        """Counts one duration of so many `seconds`."""
        self._counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self._counts)

    def buckets(self) -> Sequence[tuple[str, int]]:
        """For each upper bound, as text, how many durations were within it."""
        ends = [*(f"{end:g}" for end in SECONDS), "+Inf"]
        return list(zip(ends, accumulate(self._counts), strict=True))
