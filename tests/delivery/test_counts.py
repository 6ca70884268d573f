"""Counts that other workers are told: all of them at first, then those that have changed."""

from __future__ import annotations

from roomcast.delivery.counts import ComputedCount, Counts


def test_only_changed_counts_are_given_and_each_change_once() -> None:
    counts = Counts()
    counts.set("before anybody asked", 1)
    assert counts.changes() == {}
    counts.set("a", 1)
    counts.set("b", 2)
    counts.set("a", 3)
    assert counts.changes() == {"a": 3, "b": 2}
    assert counts.changes() == {}
    counts.set("b", 0)
    assert counts.changes() == {"b": 0}
    assert counts.all() == {"before anybody asked": 1, "a": 3}


def test_asking_for_all_counts_starts_recording_changes() -> None:
    counts = Counts()
    counts.set("a", 1)
    assert counts.all() == {"a": 1}
    counts.set("a", 2)
    counts.set("gone", 0)
    assert counts.all() == {"a": 2}
    assert counts.changes() == {}


def test_a_single_count_is_given_when_it_has_changed() -> None:
    values = [0]
    number = ComputedCount(lambda: values[0])
    assert number.changes() == {}
    values[0] = 5
    assert number.changes() == {"": 5}
    assert number.changes() == {}
    assert number.all() == {"": 5}
