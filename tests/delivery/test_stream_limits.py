"""The number of streams that a principal has and may have."""

from __future__ import annotations

from roomcast.delivery.counts import Counts
from roomcast.delivery.stream_limits import StreamLimits


def test_the_streams_of_a_principal_share_a_limit_that_lives_as_long_as_they_do() -> None:
    limits = StreamLimits()
    limit = limits.of("shop", 2, "key")
    assert limits.of("shop", 3, "ticket") is limit
    assert (limit.allowed, limit.kind) == (3, "ticket")
    assert limits.of("other", 2, "key") is not limit
    del limit
    assert dict(limits._limits) == {}


def test_a_principal_is_over_its_limit_with_one_stream_too_many() -> None:
    limit = StreamLimits().of("shop", 2, "key")
    found = []
    for _ in range(3):
        limit.streams += 1
        found.append(limit.is_exceeded)
    assert found == [False, False, True]


def test_streams_at_other_workers_count_as_well() -> None:
    limits = StreamLimits()
    limits.elsewhere = {"shop": 2, "other": 0}.__getitem__
    shop, other = limits.of("shop", 2, "key"), limits.of("other", 2, "key")
    assert not shop.is_exceeded
    shop.streams = other.streams = 1
    assert (shop.is_exceeded, other.is_exceeded) == (True, False)


def test_other_workers_are_told_the_streams_of_each_principal() -> None:
    limits = StreamLimits()
    limits.counts = Counts()
    limit = limits.of("shop", 2, "key")
    limit.streams = 2
    assert limits.counts.all() == {"shop": 2}
    limit.streams = 0
    assert limits.counts.changes() == {"shop": 0}
    assert limits.counts.all() == {}
