"""The number of followers of each room, and the rooms that are listed."""

from __future__ import annotations

import pytest

from roomcast.delivery import followed
from roomcast.delivery.followed import FollowedRooms
from roomcast.model.rooms import Selection


def names(rooms: FollowedRooms, prefix: str = "", after: str | None = None, last: str | None = None) -> str:
    return " ".join(rooms.names(prefix, after, last))


def test_a_room_is_listed_as_long_as_it_has_followers() -> None:
    rooms = FollowedRooms()
    rooms.add(Selection.of(["b", "a"]))
    rooms.add(Selection.of(["b"]))
    assert (names(rooms), rooms.count("a"), rooms.count("b"), rooms.count("c")) == ("a b", 1, 2, 0)
    rooms.drop(Selection.of(["b", "a"]))
    assert (names(rooms), rooms.count("a"), rooms.count("b")) == ("b", 0, 1)
    rooms.drop(Selection.of(["b"]))
    assert (names(rooms), rooms._counts) == ("", {})


def test_names_are_given_by_prefix_after_one_and_up_to_another() -> None:
    rooms = FollowedRooms()
    rooms.add(Selection.of(["b2", "a", "b1", "c", "b3", "b"]))
    assert names(rooms) == "a b b1 b2 b3 c"
    assert names(rooms, "b") == "b b1 b2 b3"
    assert names(rooms, "b", after="b1") == "b2 b3"
    assert names(rooms, "b", after="a") == "b b1 b2 b3"
    assert names(rooms, "b2", after="a") == "b2"
    assert names(rooms, "b", after="b15", last="b2") == "b2"
    assert names(rooms, last="b") == "a b"
    assert names(rooms, "d") == ""


def test_a_stranger_cannot_make_the_list_longer_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "LISTED_ROOMS", 2)
    rooms = FollowedRooms()
    rooms.add(Selection.of(["c", "b"]))
    rooms.add(Selection.of(["a", "d"]))
    assert names(rooms) == "b c"
    rooms.drop(Selection.of(["a", "d"]))  # these were counted, but not listed
    assert (names(rooms), rooms.count("a")) == ("b c", 0)
    rooms.drop(Selection.of(["c"]))
    rooms.add(Selection.of(["d"]))
    assert names(rooms) == "b d"


def test_a_follower_by_prefix_counts_for_each_room_that_it_covers_and_once_for_one_that_it_names_as_well() -> None:
    rooms = FollowedRooms()
    rooms.add(Selection.of(["team/7/a", "other"], ["team/7/"]))
    rooms.add(Selection.of((), ["team/"]))
    counts = {room: rooms.count(room) for room in ("team/7/a", "team/7/b", "team/8", "other", "team")}
    assert counts == {"team/7/a": 2, "team/7/b": 2, "team/8": 1, "other": 1, "team": 0}
    rooms.drop(Selection.of(["team/7/a", "other"], ["team/7/"]))
    assert [rooms.count(room) for room in ("team/7/a", "other")] == [1, 0]
