"""A rate limit: one bucket for each client."""

from __future__ import annotations

import pytest

from roomcast.auth.rate_limiter import BUCKETS, RateLimiter, client_name
from roomcast.model.errors import TooMany


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def taken(limiter: RateLimiter, name: str = "a", tries: int = 100) -> int:
    """The number of `tries` that are allowed."""
    given = 0
    for _ in range(tries):
        try:
            limiter.take(name)
        except TooMany:
            continue
        given += 1
    return given


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_given_at_once_and_then_the_rate(clock: Clock) -> None:
    limiter = RateLimiter(2, 5, clock)
    assert taken(limiter) == 5
    for _ in range(50):
        clock.now += 0.5
        assert taken(limiter) == 1
    clock.now += 3600
    assert taken(limiter) == 5


def test_each_has_a_bucket_of_its_own(clock: Clock) -> None:
    limiter = RateLimiter(1, 1, clock)
    assert [taken(limiter, name) for name in "abca"] == [1, 1, 1, 0]


def test_the_burst_is_that_of_ten_seconds_where_none_is_given(clock: Clock) -> None:
    assert taken(RateLimiter(2, 0, clock)) == 20
    assert taken(RateLimiter(1 / 3600, 0, clock)) == 1


def test_a_large_batch_is_a_debt_that_is_paid_before_anything_else_is_given(clock: Clock) -> None:
    limiter = RateLimiter(10, 5, clock)
    limiter.take("a")
    limiter.take_more("a", 999)
    with pytest.raises(TooMany) as refused:
        limiter.take("a")
    assert refused.value.retry_after == 100
    with pytest.raises(TooMany):
        limiter.take_more("a", 1)
    clock.now += refused.value.retry_after - 1
    assert taken(limiter) == 0
    clock.now += 1
    assert taken(limiter) >= 1


def test_a_client_that_waits_as_it_is_told_is_served(clock: Clock) -> None:
    limiter = RateLimiter(1 / 7, 3, clock)
    taken(limiter)
    for _ in range(20):
        with pytest.raises(TooMany) as refused:
            limiter.take("a")
        clock.now += refused.value.retry_after
        limiter.take("a")


def test_no_more_buckets_are_kept_than_a_few_megabytes_hold(clock: Clock) -> None:
    limiter = RateLimiter(1, 1, clock)
    for number in range(BUCKETS + 100):
        limiter.take(str(number))
    assert len(limiter) == BUCKETS
    assert taken(limiter, str(BUCKETS + 99)) == 0
    assert taken(limiter, "0") == 1


def test_a_client_of_ipv6_is_its_network_whichever_of_its_addresses_it_takes() -> None:
    first, *others = map(client_name, ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::1%eth0"))
    assert others == [first, first]
    assert client_name("2001:db8:1:2::1") != client_name("2001:db8:1:3::1")
    assert client_name("::ffff:192.0.2.1") == client_name("192.0.2.1") == "192.0.2.1"
    assert client_name("192.0.2.1") != client_name("192.0.2.2")
    assert client_name("unix") == "unix"


def test_debt_is_told_and_paid_with_time(clock: Clock) -> None:
    limiter = RateLimiter(10, 5, clock)
    assert limiter.debt_seconds("a") == 0
    limiter.charge("a", 5)
    assert limiter.debt_seconds("a") == 0
    limiter.charge("a", 20)
    assert limiter.debt_seconds("a") == pytest.approx(2)
    clock.now += 1.5
    assert limiter.debt_seconds("a") == pytest.approx(0.5)
    clock.now += 3600
    assert limiter.debt_seconds("a") == 0
    limiter.charge("a", 15)  # the hour without debt saves up no more than the burst
    assert limiter.debt_seconds("a") == pytest.approx(1)
    assert limiter.refused == 0


@pytest.mark.parametrize("rate", [10, 33, 49])
def test_a_burst_is_complete_in_spite_of_rounding(clock: Clock, rate: int) -> None:
    """The sum of so many intervals is a little more than their product."""
    clock.now = 100_000.1
    assert taken(RateLimiter(rate, clock=clock), tries=1_000) == 10 * rate


def test_the_least_recently_used_bucket_is_dropped_first(clock: Clock) -> None:
    limiter = RateLimiter(1, 1, clock)
    for number in range(BUCKETS):
        limiter.take(str(number))
    assert taken(limiter, "0", 1) == 0
    limiter.take("one more")
    assert [taken(limiter, name, 1) for name in ("0", "1")] == [0, 1]
    assert limiter.refused == 2


def test_amounts_are_recorded_for_other_workers_once_they_are_asked_for(clock: Clock) -> None:
    limiter = RateLimiter(10, 10, clock)
    limiter.take("a")
    assert limiter.take_spent() == {}
    limiter.take("a")
    limiter.take("a")
    limiter.take_more("b", 3)
    limiter.charge("c", 2)
    assert limiter.take_spent() == {"a": 2, "b": 3}
    assert limiter.take_spent() == {}
