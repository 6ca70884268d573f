"""The list of rooms in both orders, in memory."""

from __future__ import annotations

import random
import time
from itertools import islice

import pytest

from roomcast.log.base import RoomSort
from roomcast.log.room_list import RoomList, prefix_end


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("", None),
        ("a", "b"),
        ("a/\U0010ffff", "a0"),
        ("\U0010ffff\U0010ffff", None),
        ("\ud7ff", "\ue000"),
        ("\uffff", "\U00010000"),
    ],
)
def test_the_end_of_a_prefix_is_the_first_string_behind_it(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


def test_a_room_that_is_dropped_is_in_neither_order() -> None:
    rooms = RoomList()
    for seq, room in enumerate("abca", 1):
        rooms.note(room, seq)
    rooms.drop("b")
    rooms.drop("never")
    assert list(rooms.walk("", "name", None)) == ["a", "c"]
    assert list(rooms.walk("", "newest", None)) == ["a", "c"]
    rooms.clear()
    assert list(rooms.walk("", "name", None)) == list(rooms.walk("", "newest", None)) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_walk_from_a_seq_lists_the_rooms_as_they_are_now_whatever_changed_since_the_last_walk(seed: int) -> None:
    chance = random.Random(seed)
    rooms, newest = RoomList(), dict[str, int]()
    for seq in range(1, 300):
        room = chance.choice("abcdefgh")
        if chance.random() < 0.8:
            rooms.note(room, seq)
            newest[room] = seq
        else:
            rooms.drop(room)
            newest.pop(room, None)
        if chance.random() < 0.005:
            rooms.clear()
            newest.clear()
        before = chance.randrange(max(0, seq - 12), seq + 3)
        listed = sorted((room for room, at in newest.items() if at < before), key=newest.__getitem__, reverse=True)
        assert list(rooms.walk("", "newest", before)) == listed
        assert list(rooms.walk("a", "newest", before)) == [room for room in listed if room == "a"]


@pytest.mark.parametrize(("sort", "after"), [("name", None), ("name", "r/5"), ("newest", None), ("newest", 5_001)])
def test_a_page_costs_the_same_however_many_rooms_there_are(sort: RoomSort, after: str | int | None) -> None:
    few, many = RoomList(), RoomList()
    for number in range(1, 50_001):
        many.note(f"r/{number}", number)
        if number % 50 == 0:
            few.note(f"r/{number}", number)
    assert cost(many, sort, after) < 5 * cost(few, sort, after)


def cost(rooms: RoomList, sort: RoomSort, after: str | int | None) -> float:
    """The CPU time of a page in seconds; the least of several tries."""
    times = []
    for _ in range(20):
        began = time.thread_time()
        for _ in range(10):
            assert len(list(islice(rooms.walk("r/", sort, after), 100))) == 100
        times.append(time.thread_time() - began)
    return min(times)
