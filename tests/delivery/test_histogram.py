"""The histogram of durations."""

from __future__ import annotations

import pytest

from roomcast.delivery.histogram import SECONDS, Histogram


def test_each_time_counts_in_all_buckets_that_it_fits_into() -> None:
    times = Histogram()
    for seconds in (0.0, 0.0005, 0.3, 31.0):
        times.observe(seconds)
    counts = dict(times.buckets())
    assert (counts["0.0005"], counts["0.001"], counts["0.25"], counts["0.5"]) == (2, 2, 2, 3)
    assert (counts["30"], counts["+Inf"], times.count) == (3, 4, 4)
    assert times.sum == pytest.approx(31.3005)
    assert list(counts) == [*(f"{end:g}" for end in SECONDS), "+Inf"]
