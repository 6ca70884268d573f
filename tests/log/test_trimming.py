"""The losses that a reader is told, computed from how far each room is trimmed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from roomcast.log.base import Loss
from roomcast.log.trimming import Trimming, losses_between, position_before, watermark
from roomcast.model.rooms import Selection

A = Trimming(seq=9, at=90, lost=4)
"""The messages 3, 5, 8 and 9 of the room a are gone."""
B = Trimming(seq=5, at=50, lost=2, capped=4)
"""The messages 4 and 5 of the room b are gone; the last one was deleted."""
NEVER = Trimming(0, 0, 0)


def between(room: str, after: int, last: int) -> int:
    gone = {"a": (3, 5, 8, 9), "b": (4, 5)}[room]
    return sum(after < seq <= last for seq in gone)


@pytest.mark.parametrize(
    ("after", "before", "told"),
    [
        (0, None, [("b", 5, 2, 0), ("a", 9, 4, 0)]),
        (4, None, [("b", 5, 2, 1), ("a", 9, 4, 1)]),
        (5, None, [("a", 9, 4, 2)]),
        (8, None, [("a", 9, 4, 3)]),
        (9, None, []),
        (0, 10, [("b", 5, 2, 0), ("a", 9, 4, 0)]),
        (0, 9, [("b", 5, 2, 0), ("a", 8, 4, 0)]),
        (0, 5, [("a", 4, 4, 0), ("b", 4, 2, 0)]),
        (4, 5, []),
    ],
)
def test_a_loss_is_told_up_to_its_last_message_and_with_what_the_reader_has_passed(
    after: int, before: int | None, told: list[tuple[str, int, int, int]]
) -> None:
    losses = losses_between(Selection.of("ab"), {"a": A, "b": B}, NEVER, after, before, between)
    assert [(loss.room, loss.last, loss.ever, loss.passed) for loss in losses] == told


def test_messages_lost_after_the_last_one_that_a_cap_removed_were_deleted() -> None:
    losses = losses_between(Selection.of("ab"), {"a": A, "b": B}, NEVER, 0, None, between)
    assert {loss.room: loss.after for loss in losses} == {"a": 9, "b": 4}


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        (Selection.of("x"), [Loss("x", 7, 7, 7)]),
        (Selection.of((), ["x"]), [Loss("", 7, 7, 7)]),
        (Selection.of("x", ["y"]), [Loss("", 7, 7, 7), Loss("x", 7, 7, 7)]),
    ],
)
def test_a_room_that_the_log_may_have_forgotten_may_have_lost_all_up_to_the_watermark(
    selection: Selection, told: Sequence[Loss]
) -> None:
    assert losses_between(selection, {}, watermark(7, 70), 0, None, between) == told
    assert losses_between(selection, {}, watermark(7, 70), 7, None, between) == []


@pytest.mark.parametrize(
    ("since", "position"), [(0, 0), (50, 0), (51, 5), (70, 5), (71, 7), (90, 7), (91, 9), (10**6, 9)]
)
def test_a_page_since_a_time_begins_after_what_was_lost_before_it(since: int, position: int) -> None:
    """So what was lost at that very time is told."""
    selection = Selection.of("abx")
    assert position_before(selection, {"a": A, "b": B}, watermark(7, 70), since) == position


def test_a_reader_has_passed_no_fewer_than_none_of_what_a_room_lost() -> None:
    """The count of a room's messages after a position may be too high."""
    [loss] = losses_between(Selection.of("a"), {"a": A}, NEVER, 1, None, lambda room, after, last: A.lost + 1)
    assert loss.passed == 0
