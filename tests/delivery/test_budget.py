"""The memory that answers share, by itself."""

from __future__ import annotations

import pytest

from roomcast.delivery.budget import READERS_SHARE, Budget
from roomcast.model.errors import Overloaded


def test_bytes_that_wait_for_several_followers_count_once() -> None:
    budget = Budget(1000)
    data = b"x" * 600
    for _ in range(5):
        budget.hold(data)
    assert budget.used == 600
    with pytest.raises(Overloaded):
        budget.hold(b"y" * 600)
    for _ in range(5):
        budget.drop(data)
    assert budget.used == 0
    budget.hold(b"y" * 600)


def test_readers_leave_a_part_to_publishers_and_followers() -> None:
    budget = Budget(1000)
    reader = budget.reserve(int(1000 * READERS_SHARE), READERS_SHARE)
    with pytest.raises(Overloaded):
        budget.reserve(1, READERS_SHARE)
    assert budget.allows(100)
    budget.reserve(100).release()
    del reader
    assert budget.used == 0


def test_one_answer_alone_may_be_larger_than_the_budget() -> None:
    budget = Budget(1000)
    alone = budget.reserve(1500)
    alone.add(500)
    with pytest.raises(Overloaded):
        budget.reserve(1)
    alone.release()
    alone.release()
    assert budget.used == 0
    budget.reserve(1)


def test_an_answer_grows_within_the_budget_and_its_share() -> None:
    budget = Budget(1000)
    other, reader = budget.reserve(200), budget.reserve(100, READERS_SHARE)
    reader.add(450)
    with pytest.raises(Overloaded):
        reader.add(1)
    assert (reader.size, budget.used) == (550, 750)
    other.add(250)
    with pytest.raises(Overloaded):
        other.add(1)
    assert budget.refused == 2


def test_the_same_bytes_are_held_until_the_last_follower_has_taken_them() -> None:
    budget = Budget(1000)
    data, same = b"x" * 300, bytes(bytearray(b"x" * 300))
    for waiting in (data, data, same):
        budget.hold(waiting)
    assert budget.used == 600
    budget.drop(data)
    assert budget.used == 600
    budget.drop(data)
    assert budget.used == 300
    budget.drop(same)
    assert (budget.used, budget._shared) == (0, {})
