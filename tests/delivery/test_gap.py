"""Gaps by themselves: how losses add up, and the data of the event."""

from __future__ import annotations

import json

import pytest

from roomcast.delivery.gap import Missing, Opening, PendingGap, PendingLosses, gap_of_unusable_id, widened
from roomcast.log.base import Loss, Page
from roomcast.model.message import MessageId
from roomcast.model.rooms import Selection

SINCE = PendingGap(None, ["b"], 3, "trimmed")
FUTURE = PendingGap("test-99", ["a", "b"], None, "future")


DELETED = PendingGap("test-1", ["b"], 1, "deleted")


def lost(room: str, at_most: int, *, after: int = 7, deleted: bool = False) -> Missing:
    return Missing(room, after, 9, at_most, deleted)


@pytest.mark.parametrize("gap", [None, SINCE, FUTURE])
def test_without_a_loss_a_gap_stays_as_it_is(gap: PendingGap | None) -> None:
    assert widened(gap, "test", []) is gap


def test_a_first_loss_begins_a_gap_where_the_rooms_are_whole() -> None:
    losses = [lost("b", 2), lost("a", 5, after=8)]
    assert widened(None, "test", losses) == PendingGap("test-7", ["a", "b"], 7, "trimmed")


def test_a_gap_begins_at_the_position_of_an_empty_log_or_at_none_that_was_named() -> None:
    gaps = [widened(None, "test", [lost("a", 1, after=after)]) for after in (0, -1)]
    assert [gap and gap.after for gap in gaps] == ["test-0", None]


def test_a_second_loss_adds_its_count_and_its_rooms() -> None:
    assert widened(SINCE, "test", [lost("a", 4)]) == PendingGap(None, ["a", "b"], 7, "trimmed")


def test_a_room_that_loses_twice_is_named_once() -> None:
    assert widened(SINCE, "test", [lost("b", 4)]) == PendingGap(None, ["b"], 7, "trimmed")


def test_a_gap_of_unknown_size_stays_so_and_keeps_its_reason() -> None:
    assert widened(FUTURE, "test", [lost("c", 4)]) == PendingGap("test-99", ["a", "b", "c"], None, "future")


def test_the_reason_of_a_gap_is_deleted_only_if_all_of_it_was_deleted() -> None:
    gone = lost("a", 1, deleted=True)
    reasons = {
        "deleted": [widened(None, "test", [gone, gone]), widened(DELETED, "test", [gone])],
        "trimmed": [
            widened(None, "test", [gone, lost("b", 1)]),
            widened(DELETED, "test", [lost("a", 1)]),
            widened(SINCE, "test", [gone]),
        ],
        "future": [widened(FUTURE, "test", [gone])],
    }
    for reason, gaps in reasons.items():
        assert [gap and gap.reason for gap in gaps] == [reason] * len(gaps)


def page(position: int, *losses: Loss, oldest: int = 50, deletions: int = 0) -> Page:
    return Page([], position, losses, oldest, deletions)


def told(pending: PendingLosses, found: Page) -> dict[str, int]:
    return {one.room: one.at_most for one in pending.missing(found)}


def test_a_loss_lies_after_a_position_that_is_older_than_everything_retained() -> None:
    pending = PendingLosses(Opening(10))
    assert told(pending, page(60, Loss("a", 13, 100), Loss("b", 40, 5))) == {"a": 3, "b": 5}


def test_a_client_that_may_have_been_cut_in_a_replay_is_told_of_all_that_a_room_lost() -> None:
    pending = PendingLosses(Opening(10))
    assert told(pending, page(60, Loss("a", 13, 100), oldest=5)) == {"a": 100}


def missing(pending: PendingLosses, found: Page) -> list[tuple[str, int, int, bool]]:
    return [(one.room, one.after, one.last, one.deleted) for one in pending.missing(found)]


def test_losses_are_told_in_the_order_in_which_the_stream_passes_them() -> None:
    lost = (Loss("b", 40, 5, after=39), Loss("a", 20, 1, number=1), Loss("a", 50, 1, number=2))
    assert missing(PendingLosses(Opening(10)), page(60, *lost, deletions=2)) == [
        ("a", 10, 20, True),
        ("b", 10, 40, False),
        ("a", 20, 50, True),
    ]


def test_a_loss_is_a_deletion_if_the_room_was_whole_up_to_where_only_deletions_begin() -> None:
    for after, deleted in ((10, True), (11, False)):
        assert missing(PendingLosses(Opening(10)), page(60, Loss("a", 20, 3, after))) == [("a", 10, 20, deleted)]


def test_a_client_that_named_a_time_is_told_only_positions_that_it_has_passed() -> None:
    pending = PendingLosses(Opening(10, position_known=False))
    assert missing(pending, page(20, Loss("a", 13, 1, after=12))) == [("a", -1, 13, False)]
    assert missing(pending, page(40, Loss("b", 30, 1, after=29))) == [("b", 20, 30, False)]


def test_a_loss_is_of_one_message_at_least() -> None:
    pending = PendingLosses(Opening(10))
    assert told(pending, page(20, Loss("a", 20, 8))) == {"a": 8}
    assert told(pending, page(40, Loss("a", 30, 8))) == {"a": 1}


def test_a_client_whose_last_message_is_retained_may_have_been_cut_in_a_replay() -> None:
    assert told(PendingLosses(Opening(10)), page(60, Loss("a", 13, 100), oldest=10)) == {"a": 100}


def test_of_a_client_that_may_have_been_cut_nothing_counts_as_told_before() -> None:
    assert told(PendingLosses(Opening(10)), page(60, Loss("a", 13, 100, passed=90), oldest=5)) == {"a": 100}
    assert told(PendingLosses(Opening(10)), page(60, Loss("a", 40, 100, passed=90), oldest=50)) == {"a": 10}


def test_a_stream_that_has_passed_a_page_knows_where_later_losses_lie() -> None:
    pending = PendingLosses(Opening(10))
    assert told(pending, page(20, oldest=5)) == {}
    assert told(pending, page(60, Loss("a", 30, 100), oldest=5)) == {"a": 10}


def test_a_stream_whose_start_the_log_found_knows_where_later_losses_lie() -> None:
    pending = PendingLosses(Opening(10, start_page=page(10, Loss("a", 20, 8))))
    assert told(pending, page(60, Loss("b", 13, 100), oldest=5)) == {"b": 3}


def test_a_loss_is_told_when_the_stream_passes_it_and_only_then() -> None:
    pending = PendingLosses(Opening(0))
    assert told(pending, page(20, Loss("a", 13, 10), Loss("b", 40, 5), oldest=14)) == {"a": 10}
    assert told(pending, page(45, Loss("b", 40, 5), oldest=14)) == {"b": 5}


def test_a_later_loss_of_a_room_is_told_without_the_earlier_one() -> None:
    pending = PendingLosses(Opening(10))
    assert told(pending, page(20, Loss("a", 20, 8))) == {"a": 8}
    assert told(pending, page(40, Loss("a", 30, 11))) == {"a": 3}


def test_a_replay_of_all_is_not_told_of_losses_before_it_began() -> None:
    pending = PendingLosses(Opening(0, exact=False))
    begun = page(10, Loss("a", 20, 8), Loss("a", 30, 1, number=2), deletions=2)
    assert told(pending, begun) == {}
    lost = (Loss("a", 25, 11), Loss("b", 26, 1), Loss("c", 30, 1, number=2), Loss("d", 31, 1, number=3))
    assert told(pending, page(40, *lost)) == {"a": 3, "b": 1, "d": 1}


def test_losses_before_the_page_that_found_a_position_are_not_told() -> None:
    """As for `replay=20`: the log finds the position, and says what it had lost by then."""
    found = page(10, Loss("a", 20, 8), Loss("b", 30, 1, number=2), deletions=2)
    pending = PendingLosses(Opening(10, start_page=found))
    assert told(pending, page(40, Loss("a", 25, 11), Loss("b", 30, 1, number=2), Loss("c", 31, 1, number=3))) == {
        "a": 3,
        "c": 1,
    }


def test_an_id_that_cannot_be_used_may_have_lost_anything_of_the_rooms() -> None:
    assert gap_of_unusable_id("x-1", Selection.of("ba"), "epoch") == PendingGap("x-1", ["a", "b"], None, "epoch")


@pytest.mark.parametrize(("resumes_at", "told"), [(MessageId("test", 12), "test-12"), (None, None)])
def test_a_reader_sees_all_five_fields(resumes_at: MessageId | None, told: str | None) -> None:
    assert json.loads(PendingGap("test-7", ["a"], 4, "trimmed").data(resumes_at)) == {
        "after": "test-7",
        "resumes_at": told,
        "rooms": ["a"],
        "lost_at_most": 4,
        "reason": "trimmed",
    }


def test_a_gap_of_a_stream_by_prefix_names_the_prefixes_concerned() -> None:
    gap = widened(None, "test", [lost("a/1", 2), lost("c", 1)], ("a/", "b/"))
    assert gap == PendingGap("test-7", ["a/1", "c"], 3, "trimmed", ["a/"])
    assert widened(gap, "test", [lost("b/1", 4)], ("a/", "b/")) == PendingGap(
        "test-7", ["a/1", "b/1", "c"], 7, "trimmed", ["a/", "b/"]
    )


def test_a_gap_by_prefix_names_at_most_64_rooms_and_counts_all() -> None:
    gap = widened(None, "test", [lost(f"a/{n:03}", 1) for n in range(100)], ("a/",))
    assert gap
    assert (len(gap.rooms), gap.rooms[0], gap.lost_at_most, gap.prefixes) == (64, "a/000", 100, ["a/"])


def test_a_gap_names_no_room_where_the_log_has_forgotten_which() -> None:
    gap = widened(None, "test", [lost("", 9), lost("a/1", 1)], ("a/", "b/"))
    assert gap == PendingGap("test-7", [], None, "trimmed", ("a/", "b/"))
    assert widened(gap, "test", [lost("a/2", 1)], ("a/", "b/")) == gap
    known = widened(None, "test", [lost("a/1", 1)], ("a/", "b/"))
    assert widened(known, "test", [lost("", 9)], ("a/", "b/")) == gap


def test_a_reader_sees_the_prefixes_where_some_are_followed() -> None:
    data = gap_of_unusable_id("x-1", Selection.of("c", ["a/"]), "malformed").data(None)
    assert json.loads(data) == {
        "after": "x-1",
        "resumes_at": None,
        "rooms": [],
        "lost_at_most": None,
        "reason": "malformed",
        "prefixes": ["a/"],
    }


def test_a_gap_is_one_line_whatever_a_client_sent_as_its_id_and_its_rooms_are_called() -> None:
    odd = "a\x85id: zzzz-9\u2028data: {}\u2029\x0b\x1e"
    data = PendingGap(odd, [odd], None, "malformed").data(None)
    assert len(data.decode().splitlines()) == 1
    assert json.loads(data)["after"] == odd
    assert json.loads(data)["rooms"] == [odd]
