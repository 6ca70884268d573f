"""The rooms that exceed their rules, and the limits that a step of trimming sends. No database."""

from __future__ import annotations

from typing import Any

from roomcast.log.postgresql.caps import PostgresCaps
from roomcast.log.postgresql.queries import NO_END
from roomcast.model.retention import Retention, RoomRule

RULES = (RoomRule("few", max_messages=2), RoomRule("small", max_bytes=10), RoomRule("young", max_age=1.5))


def appended(**rooms: tuple[int, int]) -> dict[str, Any]:
    """The result of an append: how many messages and bytes each of its rooms has now."""
    names = list(rooms)
    return {
        "room_names": names,
        "room_messages": [rooms[name][0] for name in names],
        "room_bytes": [rooms[name][1] for name in names],
    }


def test_an_append_notes_the_rooms_that_exceed_their_rules() -> None:
    caps = PostgresCaps(Retention(rooms=RULES))
    caps.note_append(appended(few=(2, 99), small=(99, 10), other=(99, 99)), 5)
    assert (list(caps.over), caps.backlog) == ([], 0)
    caps.note_append(appended(few=(3, 0), small=(0, 11), young=(99, 99)), 5)
    assert (list(caps.over), caps.backlog) == (["few", "small"], 10)
    caps.note_append({"room_names": None}, 5)
    assert caps.backlog == 10


def test_without_rules_no_room_exceeds_any() -> None:
    caps = PostgresCaps(Retention())
    caps.note_append(appended(few=(10**9, 10**9)), 1)
    assert (caps.over, caps.backlog) == ({}, 0)


def test_a_walk_notes_the_rooms_that_exceed_their_rules_or_have_messages_that_are_too_old() -> None:
    caps = PostgresCaps(Retention(rooms=RULES))
    rows = [
        {"room": "few", "messages": 3, "bytes": 0, "oldest_at": 0},
        {"room": "small", "messages": 1, "bytes": 10, "oldest_at": 0},
        {"room": "young", "messages": 1, "bytes": 1, "oldest_at": 8_499},
        {"room": "other", "messages": 99, "bytes": 99, "oldest_at": 0},
    ]
    caps.note_walk(rows, 10_000)
    assert list(caps.over) == ["few", "young"]
    young = PostgresCaps(Retention(rooms=RULES))
    young.note_walk([{**rows[2], "oldest_at": 8_500}], 10_000)
    assert not young.over


def test_a_step_sends_the_limits_of_each_room() -> None:
    caps = PostgresCaps(Retention(rooms=RULES))
    rooms = ["few", "small", "young", "other"]
    assert caps.limits(rooms, 10_000) == (
        rooms,
        [2, NO_END, NO_END, NO_END],
        [NO_END, 10, NO_END, NO_END],
        [-1, -1, 8_500, -1],
    )


def test_new_rules_replace_the_old_ones_and_leave_the_caps_of_the_log() -> None:
    caps = PostgresCaps(Retention(100, 1_000, rooms=RULES))
    caps.note_append(appended(few=(3, 0)), 1)
    assert caps.oldest_at(10_000) == -1
    caps.apply(Retention(7, 7, max_age=2.5, rooms=(RoomRule("few", max_messages=9),)))
    assert caps.retention[:2] == (100, 1_000)
    assert (caps.over, caps.oldest_at(10_000), caps.oldest_at(1_000)) == ({}, 7_500, 0)
    caps.note_append(appended(few=(9, 0)), 1)
    assert not caps.over
