"""A gap by itself: how losses add up, and what its reader sees."""

from __future__ import annotations

import json

import pytest

from roomcast.delivery.gap import Gap, widened
from roomcast.log.base import Loss
from roomcast.model.message import MessageId

SINCE = Gap(None, ["b"], 3, "trimmed")
FUTURE = Gap("test-99", ["a", "b"], None, "future")


@pytest.mark.parametrize("gap", [None, SINCE, FUTURE])
def test_without_a_loss_a_gap_stays_as_it_is(gap: Gap | None) -> None:
    assert widened(gap, "test-7", []) is gap


def test_a_first_loss_begins_a_gap_behind_the_position_reached() -> None:
    losses = [Loss("b", 2), Loss("a", 5)]
    assert widened(None, "test-7", losses) == Gap("test-7", ["a", "b"], 7, "trimmed")


def test_a_second_loss_adds_its_count_and_its_rooms() -> None:
    assert widened(SINCE, "test-7", [Loss("a", 4)]) == Gap(None, ["a", "b"], 7, "trimmed")


def test_a_room_that_loses_twice_is_named_once() -> None:
    assert widened(SINCE, "test-7", [Loss("b", 4)]) == Gap(None, ["b"], 7, "trimmed")


def test_a_gap_of_unknown_size_stays_so_and_keeps_its_reason() -> None:
    assert widened(FUTURE, "test-7", [Loss("c", 4)]) == Gap("test-99", ["a", "b", "c"], None, "future")


@pytest.mark.parametrize(("resumes_at", "told"), [(MessageId("test", 12), "test-12"), (None, None)])
def test_a_reader_sees_all_five_fields(resumes_at: MessageId | None, told: str | None) -> None:
    assert json.loads(Gap("test-7", ["a"], 4, "trimmed").data(resumes_at)) == {
        "after": "test-7",
        "resumes_at": told,
        "rooms": ["a"],
        "lost_at_most": 4,
        "reason": "trimmed",
    }
