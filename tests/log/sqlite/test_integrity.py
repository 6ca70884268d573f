"""The checks of each read: which lists of messages are complete, judged by the `prev` of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw
import pytest

from roomcast.log.sqlite.integrity import check_complete, check_rooms_complete
from roomcast.model.message import Message


def stored(*rows: tuple[int, str, int]) -> Sequence[Message]:
    return [Message(seq, room, None, 0, prev, b"{}") for seq, room, prev in rows]


@pytest.mark.parametrize(
    ("messages", "trimmed", "ends", "after"),
    [
        ([], {}, {}, 0),
        ([(1, "a", 0), (2, "b", 0), (3, "a", 1)], {}, {"a": 3, "b": 2}, 0),
        ([(3, "a", 1)], {}, {"a": 3}, 1),
        ([(3, "a", 2)], {"a": 2}, {"a": 3}, 1),
        ([], {"a": 3}, {"a": 3}, 1),
        ([], {}, {"a": 3}, 3),
    ],
    ids=["nothing", "all", "after a position", "after trimming", "all trimmed", "nothing new"],
)
def test_all_messages_of_some_rooms_are_complete(
    messages: list[tuple[int, str, int]], trimmed: Mapping[str, int], ends: Mapping[str, int], after: int
) -> None:
    check_rooms_complete(stored(*messages), trimmed, ends, after)


@pytest.mark.parametrize(
    ("messages", "trimmed", "ends", "after"),
    [
        ([(3, "a", 1)], {}, {}, 0),
        ([(3, "a", 2)], {"a": 1}, {}, 1),
        ([(1, "a", 0), (3, "a", 2)], {"a": 2}, {}, 0),
        ([(1, "a", 0)], {}, {"a": 2}, 0),
        ([], {"a": 2}, {"a": 3}, 2),
    ],
    ids=["the first", "the first after trimming", "one between", "the last", "the only one"],
)
def test_a_missing_message_of_some_rooms_is_damage(
    messages: list[tuple[int, str, int]], trimmed: Mapping[str, int], ends: Mapping[str, int], after: int
) -> None:
    with pytest.raises(apsw.CorruptError, match="missing"):
        check_rooms_complete(stored(*messages), trimmed, ends, after)


def test_a_part_of_the_whole_log_is_complete_if_each_earlier_message_is_in_it_before_it_or_trimmed() -> None:
    part = stored((5, "a", 3), (6, "b", 4), (7, "a", 5))
    check_complete(part, {"b": 4}, 3)
    check_complete(part, {}, 4)
    with pytest.raises(apsw.CorruptError, match="messages before 6 are missing"):
        check_complete(part, {"b": 3}, 3)
