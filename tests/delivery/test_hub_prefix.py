"""Followers by prefix: the rooms that they get, and the window and the newest messages of these."""

from __future__ import annotations

import re

import pytest

from roomcast.delivery.hub import Hub
from roomcast.model.message import Cut
from roomcast.model.rooms import Selection
from tests.delivery.fakes import RAW, RecordingSink, fed


def join_prefix(hub: Hub, sink: RecordingSink, *prefixes: str, rooms: str = "") -> RecordingSink:
    hub.join(Selection.of(rooms, prefixes), RAW, sink, sink, 0.0)
    return sink


def leave_prefix(hub: Hub, sink: RecordingSink, *prefixes: str, rooms: str = "") -> None:
    hub.leave(Selection.of(rooms, prefixes), RAW, sink)


def seqs_heard(sink: RecordingSink) -> list[int]:
    return [int(seq) for data in sink.heard for seq in re.findall(rb"id: test-(\d+)", data)]


def test_a_prefix_reaches_rooms_that_are_there_and_rooms_that_come_and_no_others() -> None:
    hub = fed("a/1", "b")
    sink = join_prefix(hub, RecordingSink(), "a/")
    fed("a/1", "b", "a/2", "a", hub=hub)
    assert seqs_heard(sink) == [3, 5]


def test_a_message_comes_once_however_often_it_is_matched() -> None:
    hub = fed("a")
    sink = join_prefix(hub, RecordingSink(), "", "a", rooms="ab")
    fed("a", "b", hub=hub)
    assert seqs_heard(sink) == [2, 3]
    leave_prefix(hub, sink, "", "a", rooms="ab")
    fed("a", "b", hub=hub)
    assert seqs_heard(sink) == [2, 3]


def test_a_follower_that_leaves_a_prefix_takes_along_no_follower_of_another_prefix_or_of_the_room() -> None:
    hub = fed("a/1")
    gone, other, named = (
        join_prefix(hub, RecordingSink(), "a"),
        join_prefix(hub, RecordingSink(), "a/"),
        RecordingSink(),
    )
    hub.join(Selection.of(["a/1"]), RAW, named, named, 0.0)
    leave_prefix(hub, gone, "a")
    fed("a/1", "a/2", hub=hub)
    assert (seqs_heard(gone), seqs_heard(other), seqs_heard(named)) == ([], [2, 3], [2])


def test_rooms_that_are_followed_by_prefix_only_are_not_kept() -> None:
    hub = Hub("test", 0, 0, window_bytes=5_000)
    join_prefix(hub, RecordingSink(), "")
    for n in range(1_000):
        fed(f"r{n}", hub=hub)
    assert len(hub._rooms) < 20
    sink = join_prefix(hub, RecordingSink(), "r1")
    fed("r1", hub=hub)
    assert seqs_heard(sink) == [1_001]


def test_the_window_by_prefix_gives_the_messages_after_a_position_in_order() -> None:
    hub = fed("a/1", "b", "a/2", "a/1", "c")
    assert [entry.message.seq for entry in hub.piece_after(Selection.of((), ["a/"]), 1).entries] == [3, 4]  # type: ignore[union-attr]
    assert hub.seek_newest(Selection.of((), ["a/"]), 2) == 2
    assert hub.seek_newest(Selection.of("b", ["a/"]), 3) == 1


def test_the_newest_by_prefix_are_looked_for_among_the_last_messages_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bound, 10,000 rooms took up to 117 ms of one turn."""
    monkeypatch.setattr("roomcast.delivery.window._WALK", 3)
    hub = fed("a/1", "b", "a/2", "a/1")
    by_prefix = Selection.of((), ["a/"])
    assert [hub.seek_newest(by_prefix, count) for count in (0, 1, 2, 3)] == [4, 3, 2, None]


def test_the_newest_by_prefix_are_counted_without_cut_messages() -> None:
    hub = fed("a/1", "a/1", "b", "a/2", "a/1", "b", "b")
    by_prefix = Selection.of((), ["a/"])
    hub.feed([], 0, 0.0, cuts=[Cut("a/1", 2, 2), Cut("b", 7, 1)])
    assert [hub.seek_newest(by_prefix, count) for count in (1, 2, 3)] == [4, 3, None]
    assert hub.seek_newest(Selection.of((), ["b"]), 1) is None
    hub.feed([], 3, 0.0)
    assert [hub.seek_newest(by_prefix, count) for count in (2, 3)] == [3, 3]


def test_the_newest_by_prefix_are_not_known_if_newer_ones_were_cut() -> None:
    hub = fed("a/1", "a/2")
    hub.feed([], 0, 0.0, cuts=[Cut("a/2", 2, 1)])
    assert [hub.seek_newest(Selection.of((), [prefix]), 1) for prefix in ("a/", "a/1", "a/2")] == [None, 0, None]


def test_the_window_by_prefix_does_not_reach_over_messages_cut_from_one_of_its_rooms() -> None:
    hub = fed("a/1", "b", "a/2", "a/1")
    by_prefix = Selection.of((), ["a/"])
    assert hub.piece_after(by_prefix, 0)
    hub.feed([], 0, 0.0, cuts=[Cut("a/1", 1, 1)])
    assert hub.piece_after(by_prefix, 0) is None
    assert hub.seek_newest(by_prefix, 3) is None
    assert hub.piece_after(Selection.of((), ["b"]), 0)
    assert [entry.message.seq for entry in hub.piece_after(by_prefix, 1).entries] == [3, 4]  # type: ignore[union-attr]
