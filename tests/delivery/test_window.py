"""The window where messages leave it: by eviction, by cuts of rooms, and at holes."""

from __future__ import annotations

import pytest

from roomcast.delivery import window as windows
from roomcast.delivery.hub import Hub
from roomcast.delivery.room_window import RoomWindow, size_of
from roomcast.delivery.window import last_hole
from roomcast.model.message import Cut, Message
from roomcast.model.rooms import Selection
from tests.delivery.fakes import RAW, RecordingSink


def fed(rooms: str, hub: Hub | None = None, *cuts: Cut, trimmed: int = 0) -> Hub:
    """A hub that was fed a message of each of these rooms in turn, then the cuts."""
    hub = hub or Hub("test", 0, 0)
    first = hub.position + 1
    found = [Message(seq, room, None, 0, 0, b'{"room":"a"}') for seq, room in enumerate(rooms, first)]
    hub.feed(found, trimmed, 0.0, cuts=cuts)
    return hub


def seqs(hub: Hub, rooms: str, after: int = 0) -> list[int] | None:
    """The seqs of the next piece; None if the window does not reach back so far."""
    piece = hub.piece_after(Selection.of(rooms), after)
    return None if piece is None else [entry.message.seq for entry in piece.entries]


def check_bytes(hub: Hub) -> None:
    """Checks that the window counts the messages that it holds."""
    held = [entry.message for room in hub._rooms.values() for entry in room.entries[room.start :]]
    assert hub._bytes == sum(map(size_of, held))
    assert len(hub._order) == len(held) + sum(room.removed for room in hub._rooms.values())


def test_a_cut_room_is_read_from_the_log_up_to_the_cut_and_others_are_not() -> None:
    hub = fed("abab", None, Cut("a", 1, 1))
    assert (seqs(hub, "a"), seqs(hub, "a", 1), seqs(hub, "b")) == (None, [3], [2, 4])
    assert (seqs(hub, "ab"), seqs(hub, "ab", 1)) == (None, [2, 3, 4])
    check_bytes(hub)


def test_a_cut_that_reaches_past_a_rooms_messages_is_remembered_for_later_ones() -> None:
    hub = fed("ab", None, Cut("a", 2, 1))
    fed("a", hub)
    assert (seqs(hub, "a", 1), seqs(hub, "a", 2)) == (None, [3])


def test_a_cut_that_reaches_less_far_than_an_earlier_one_changes_nothing() -> None:
    hub = fed("aaab", None, Cut("a", 3, 3), Cut("a", 1, 1))
    assert (seqs(hub, "a", 2), seqs(hub, "a", 3)) == (None, [])
    assert [hub.is_whole_after(position) for position in (2, 3, 4)] == [False, True, True]


def test_a_cut_below_the_window_changes_nothing() -> None:
    hub = fed("aab")
    hub.feed([], 2, 0.0, cuts=[])
    hub.feed([], 2, 0.0, cuts=[Cut("a", 2, 1)])
    assert hub.is_whole_after(0)
    assert set(hub._rooms) == {"b"}


def test_messages_that_were_cut_are_passed_over_when_their_turn_comes() -> None:
    hub = fed("aabab", None, Cut("a", 2, 2))
    check_bytes(hub)
    hub.feed([], 3, 0.0)
    assert (seqs(hub, "a", 1), seqs(hub, "b", 3)) == (None, [5])
    assert (seqs(hub, "a", 3), len(hub._order)) == ([4], 2)
    check_bytes(hub)
    hub.feed([], 5, 0.0)
    assert (hub._rooms, len(hub._order), hub._bytes) == ({}, 0, 0)


def test_a_piece_that_was_read_before_a_cut_is_not_given_after_it() -> None:
    hub = fed("ab")
    assert seqs(hub, "ab") == [1, 2]
    fed("", hub, Cut("a", 1, 1))
    assert seqs(hub, "ab") is None
    assert hub._pieces == {}


def test_the_newest_are_not_known_after_a_cut_in_the_middle_of_the_window() -> None:
    hub = fed("aabb", None, Cut("a", 1, 1))
    assert [hub.seek_newest(Selection.of(rooms), 1) for rooms in ("a", "b")] == [None, 3]
    hub.feed([], 1, 0.0)
    assert hub.seek_newest(Selection.of("a"), 1) == 1


def test_a_stream_at_the_windows_position_is_caught_up_although_the_log_is_trimmed_further() -> None:
    """It needs no read of the log: the next batch of the tail says what is missing."""
    hub = fed("aaa", trimmed=8)
    assert (seqs(hub, "a", 2), seqs(hub, "a", 3)) == (None, [])


def test_a_room_is_held_as_long_as_it_has_messages_here() -> None:
    hub = fed("ab")
    hub.join(Selection.of("c"), RAW, sink := RecordingSink(), sink, 0.0)
    assert [hub.has_messages_of(room) for room in "abcd"] == [True, True, False, False]
    hub.feed([], 1, 0.0)
    assert [hub.has_messages_of(room) for room in "ab"] == [False, True]


def test_a_room_that_is_known_only_for_a_loss_is_forgotten_with_its_next_message() -> None:
    hub = fed("ab", None, Cut("a", 1, 1))
    assert (set(hub._rooms), set(hub._silent)) == ({"a", "b"}, {"a"})
    assert seqs(hub, "a") is None
    hub.feed([], 2, 0.0)
    assert set(hub._rooms) == {"a"}
    fed("a", hub)
    hub.feed([], 3, 0.0)
    assert (hub._rooms, hub._silent) == ({}, {})


def test_rooms_that_are_known_only_for_a_loss_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_SILENT_ROOMS", 4)
    hub = Hub("test", 0, 0)
    for number in range(4):
        fed("x", hub, Cut(f"gone {number}", hub.position + 1, 1))
    assert len(hub._silent) == 4
    fed("x", hub, Cut("one too many", hub.position + 1, 1))
    assert (hub._silent, hub._rooms, hub._bytes) == ({}, {}, 0)
    assert (seqs(hub, "x", 4), seqs(hub, "gone 1", 4), seqs(hub, "x", 5)) == (None, None, [])


def test_of_too_many_such_rooms_those_that_the_window_has_passed_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_SILENT_ROOMS", 4)
    hub = Hub("test", 0, 0)
    for number in range(4):
        fed("x", hub, Cut(f"gone {number}", hub.position + 1, 1))
    hub.feed([], 3, 0.0, cuts=[Cut("one too many", 4, 1)])
    assert set(hub._silent) == {"gone 3", "one too many"}
    assert seqs(hub, "x", 3) == [4]


def test_the_window_is_emptied_if_more_than_half_of_such_rooms_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each of the next cuts would search all of them again."""
    monkeypatch.setattr(windows, "_SILENT_ROOMS", 4)
    hub = Hub("test", 0, 0)
    for number in range(4):
        fed("x", hub, Cut(f"gone {number}", hub.position + 1, 1))
    hub.feed([], 2, 0.0, cuts=[Cut("one too many", 4, 1)])
    assert hub._silent == {}
    assert (seqs(hub, "x", 3), seqs(hub, "x", 4)) == (None, [])


def test_a_hole_makes_the_window_begin_after_it() -> None:
    hub = fed("abc")
    assert seqs(hub, "ab") == [1, 2]
    hub.feed([Message(7, "a", None, 0, 0, b"{}")], 0, 0.0)
    assert hub._pieces == {}
    assert (seqs(hub, "ab", 5), seqs(hub, "ab", 6)) == (None, [7])
    assert set(hub._rooms) == {"a"}
    check_bytes(hub)


def test_messages_that_were_trimmed_before_they_were_fed_are_not_passed_over_in_silence() -> None:
    """A process stood still while another one trimmed the log. The lost message may be of a room that is in the
    window on both sides of the hole: a resume before it must read the log, which tells the gap."""
    hub = fed("aab")
    hub.feed([Message(5, "a", None, 0, 0, b"{}")], 4, 0.0)
    assert (seqs(hub, "a", 2), seqs(hub, "a", 3), seqs(hub, "a", 4)) == (None, None, [5])
    assert seqs(hub, "b", 3) is None
    check_bytes(hub)


def test_a_batch_that_reaches_past_its_messages_has_a_hole_at_its_end() -> None:
    hub = fed("ab")
    hub.feed([Message(3, "a", None, 0, 0, b"{}")], 0, 0.0, 5)
    assert (seqs(hub, "ab", 4), seqs(hub, "ab", 5), hub.position) == (None, [], 5)
    assert hub._rooms == {}


@pytest.mark.parametrize(
    ("position", "found", "reached", "hole"),
    [
        (3, [4, 5], 0, 0),
        (3, [4, 5], 5, 0),
        (3, [4, 5], 7, 7),
        (3, [], 0, 0),
        (3, [], 3, 0),
        (3, [], 4, 4),
        (3, [5, 6], 6, 4),
        (3, [4, 7, 8], 0, 6),
        (3, [4, 6, 9], 9, 8),
    ],
)
def test_the_last_missing_seq_is_found(position: int, found: list[int], reached: int, hole: int) -> None:
    messages = [Message(seq, "a", None, 0, 0, b"{}") for seq in found]
    assert last_hole(position, messages, reached) == hole


def test_a_rooms_list_is_compacted_when_most_of_it_is_evicted() -> None:
    room, hub = RoomWindow(0), fed("a" * 40)
    for entry in hub._rooms["a"].entries:
        room.add(entry)
    lengths = set()
    for evicted in range(1, 40):
        room.evict()
        lengths.add(len(room.entries) == 40)
        assert list(room.newest(99)) == list(range(evicted + 1, 41))
        assert [entry.message.seq for entry in room.after(evicted + 3)] == list(range(evicted + 4, 41))
        assert [entry.message.seq for entry in room.after(0)] == list(range(evicted + 1, 41))
    assert lengths == {True, False}
    room.evict()
    assert (room.entries, room.seqs, room.start, room.floor) == ([], [], 0, 40)
