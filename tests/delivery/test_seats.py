"""The number of streams that a principal has and may have."""

from __future__ import annotations

from roomcast.delivery.counts import Counts
from roomcast.delivery.seats import Seats


def test_the_streams_of_a_principal_share_a_seat_that_lives_as_long_as_they_do() -> None:
    seats = Seats()
    seat = seats.of("shop", 2, "key")
    assert seats.of("shop", 3, "ticket") is seat
    assert (seat.most, seat.kind) == (3, "ticket")
    assert seats.of("other", 2, "key") is not seat
    del seat
    assert len(seats) == 0


def test_a_principal_is_over_its_limit_with_one_stream_too_many() -> None:
    seat = Seats().of("shop", 2, "key")
    found = []
    for _ in range(3):
        seat.taken += 1
        found.append(seat.is_over)
    assert found == [False, False, True]


def test_streams_at_other_workers_count_as_well() -> None:
    seats = Seats()
    seats.elsewhere = {"shop": 2, "other": 0}.__getitem__
    shop, other = seats.of("shop", 2, "key"), seats.of("other", 2, "key")
    assert not shop.is_over
    shop.taken = other.taken = 1
    assert (shop.is_over, other.is_over) == (True, False)


def test_other_workers_are_told_the_streams_of_each_seat() -> None:
    seats = Seats()
    seats.counts = Counts()
    seat = seats.of("shop", 2, "key")
    seat.taken = 2
    assert seats.counts.all() == {"shop": 2}
    seat.taken = 0
    assert seats.counts.changes() == {"shop": 0}
    assert seats.counts.all() == {}
