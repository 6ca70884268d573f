"""The hub by itself: its window, its pieces, and the messages that each follower gets."""

from __future__ import annotations

import re

import pytest

from roomcast.delivery.audience import Sink
from roomcast.delivery.hub import Hub
from roomcast.delivery.piece import PIECE_BYTES
from roomcast.delivery.window import _PIECES
from roomcast.delivery.wire import WIRES, Wire
from roomcast.model.rooms import Selection
from tests.delivery.fakes import RAW, RecordingSink, fed, message

LINES = WIRES[3]


def join(hub: Hub, rooms: str, sink: RecordingSink, wire: Wire = RAW) -> RecordingSink:
    hub.join(Selection.of(rooms), wire, sink, sink, 0.0)
    return sink


def window(hub: Hub, rooms: str, after: int) -> list[int] | None:
    piece = hub.piece_after(Selection.of(rooms), after)
    return None if piece is None else [entry.message.seq for entry in piece.entries]


def test_all_that_one_turn_brings_is_one_write() -> None:
    hub, sink = fed("a"), RecordingSink()
    join(hub, "a", sink)
    fed("a", "b", "a", hub=hub)
    assert len(sink.heard) == 1
    assert sink.heard[0].count(b"id: ") == 2


def test_rooms_are_told_apart_and_several_come_in_order() -> None:
    hub, one, both = fed(), RecordingSink(), RecordingSink()
    join(hub, "a", one)
    join(hub, "ab", both)
    fed("b", "a", "c", "b", hub=hub)
    assert [one.heard[0].count(b"id: "), both.heard[0].count(b"id: ")] == [1, 3]
    assert [both.heard[0].find(b"id: test-%d\n" % n) for n in (1, 2, 4)] == sorted(
        both.heard[0].find(b"id: test-%d\n" % n) for n in (1, 2, 4)
    )


def test_a_message_is_framed_once_for_all() -> None:
    hub = fed("a")
    [entry] = hub.piece_after(Selection.of("a"), 0).entries  # type: ignore[union-attr]
    assert entry.frame(RAW, "test") is entry.frame(RAW, "test")
    assert entry.frame(LINES, "test") != entry.frame(RAW, "test")


def test_a_full_sink_leaves_with_the_position_it_was_written_to() -> None:
    hub, slow, quick = fed("a"), RecordingSink(room=1), RecordingSink()
    join(hub, "a", slow)
    join(hub, "a", quick)
    fed("a", "b", hub=hub)
    fed("a", hub=hub)
    assert slow.behind == [2]
    assert len(slow.heard) == 1
    assert len(quick.heard) == 2


def test_a_sink_that_is_full_at_a_heartbeat_has_lost_no_position() -> None:
    hub, sink = fed("b", "b", "b"), RecordingSink(room=1)
    join(hub, "a", sink)
    hub.audiences[Selection.of("a"), RAW].write(b":\n")
    assert sink.behind == [3]


def test_a_burst_is_split_and_a_sink_that_is_full_in_between_stops_there() -> None:
    hub, sink = fed(), RecordingSink(room=2)
    join(hub, "a", sink)
    body = b'{"room":"a","text":"%b"}' % (b"x" * (PIECE_BYTES // 4))
    hub.feed([message(seq, body=body) for seq in range(1, 21)], 0, 0.0)
    assert len(sink.heard) == 2
    assert max(map(len, sink.heard)) < 2 * PIECE_BYTES
    assert window(hub, "a", sink.behind[0])[0] == sink.behind[0] + 1  # type: ignore[index]


def test_the_window_gives_the_messages_after_a_position() -> None:
    hub = fed("a", "b", "a", "c")
    assert window(hub, "a", 0) == [1, 3]
    assert window(hub, "ab", 1) == [2, 3]
    assert window(hub, "c", 4) == []
    assert window(hub, "z", 0) == []


def test_the_window_says_when_it_does_not_reach_so_far() -> None:
    hub = Hub("test", 10, 0)
    fed("a", "b", hub=hub)
    assert window(hub, "a", 10) == [11]
    assert window(hub, "a", 9) is None
    assert window(hub, "ab", 9) is None


def test_the_oldest_are_evicted_by_size_and_each_room_knows_its_own() -> None:
    hub = fed(*"abbbbbbbbb", window_bytes=2_000)
    assert window(hub, "a", 0) is None
    assert window(hub, "b", 0) is None
    kept = window(hub, "b", 9)
    assert kept == [10]
    assert window(hub, "a", 1) is None  # the room is forgotten, so the whole window's beginning counts
    assert window(hub, "a", 9) == []


def test_trimmed_messages_are_not_served() -> None:
    hub = fed("a", "a", "a")
    hub.feed([], 2, 0.0)
    assert window(hub, "a", 2) == [3]
    assert window(hub, "a", 1) is None


@pytest.mark.parametrize(
    ("rooms", "count", "position"), [("a", 1, 5), ("ab", 3, 3), ("b", 1, 3), ("a", 0, 6), ("c", 2, 0)]
)
def test_the_newest_are_counted_over_all_rooms(rooms: str, count: int, position: int) -> None:
    assert fed("a", "b", "a", "b", "a", "a").seek_newest(Selection.of(rooms), count) == position


def test_the_newest_are_not_known_where_the_window_is_short() -> None:
    hub = fed("a", hub=Hub("test", 10, 0))
    assert hub.seek_newest(Selection.of("a"), 1) == 10
    assert hub.seek_newest(Selection.of("a"), 2) is None


def test_a_write_to_no_sinks_of_an_audience_reaches_none() -> None:
    hub = fed()
    sink = join(hub, "a", RecordingSink())
    hub.audiences[Selection.of("a"), RAW].write(b":\n", [])
    assert sink.heard == []


def test_evicted_messages_leave_memory_even_with_many_rooms() -> None:
    rooms = [f"r{number}" for number in range(100)]
    hub = fed(*rooms * 20, window_bytes=200 * 324)
    kept = sum(bool(entry.message.body) for room in hub._rooms.values() for entry in room.entries)
    assert kept == len(hub._order) == 200


def test_nothing_is_left_of_rooms_that_are_left() -> None:
    hub = fed("a")
    for _ in range(3):
        sink = join(hub, "xyz", RecordingSink())
        hub.leave(Selection.of("xyz"), RAW, sink)
    gone: Sink = join(hub, "q", RecordingSink(room=0))
    fed("q", hub=hub)
    hub.leave(Selection.of("q"), RAW, gone)
    assert hub.audiences == {}
    assert set(hub._rooms) == {"a", "q"}
    hub.feed([], hub.position, 0.0)
    assert hub._rooms == {}
    assert hub._bytes == 0


def test_a_follower_of_a_room_whose_messages_are_all_evicted_gets_the_next_one() -> None:
    hub, sink = fed(), RecordingSink()
    join(hub, "a", sink)
    fed("a", hub=hub)
    hub.feed([], 1, 0.0)
    fed("a", hub=hub)
    assert len(sink.heard) == 2


def test_a_room_that_goes_on_keeps_no_audience_that_has_left() -> None:
    hub = fed("a")
    for selection in (Selection.of("a"), Selection.of((), ["a"])):
        sink = RecordingSink()
        hub.join(selection, RAW, sink, sink, 0.0)
        assert len(hub._rooms["a"].audiences) == 1
        hub.leave(selection, RAW, sink)
        assert (hub._rooms["a"].audiences, hub._rooms["a"].named, hub._by_prefix) == ({}, 0, {})


def test_a_piece_at_the_end_of_the_window_is_shared_until_more_comes() -> None:
    hub = fed("a", "b")
    first = hub.piece_after(Selection.of("a"), 0)
    assert hub.piece_after(Selection.of("a"), 0) is first
    fed("b", hub=hub)
    assert hub.piece_after(Selection.of("a"), 0) is not first


def test_a_piece_without_messages_is_not_kept() -> None:
    hub = fed("a", "b")
    assert window(hub, "c", 0) == []
    assert hub._pieces == {}


def test_a_crowd_that_replays_shares_one_piece() -> None:
    hub = fed(*"ab" * 500)
    first, again = (hub.piece_after(Selection.of("a"), 0) for _ in range(2))
    assert first is again
    assert first
    assert first.full
    assert first.frames(RAW, "test") is first.frames(RAW, "test")
    assert first.frames(LINES, "test") != first.frames(RAW, "test")


def test_a_piece_that_was_not_full_gets_the_messages_that_came_since() -> None:
    hub = fed("a", "b")
    assert window(hub, "a", 0) == [1]
    fed("b", "a", hub=hub)
    assert window(hub, "a", 0) == [1, 4]


def test_a_shared_piece_is_not_served_once_the_log_trimmed_its_beginning() -> None:
    hub = fed(*"a" * 1_000)
    assert window(hub, "a", 0)
    hub.feed([], 1, 0.0)
    assert window(hub, "a", 0) is None


def test_evicted_messages_are_not_held_by_cached_pieces() -> None:
    hub = fed(*"a" * 1_000)
    for after in (0, 400, 900):
        assert window(hub, "a", after)
    hub.feed([], 401, 0.0)
    assert [after for _, after in hub._pieces] == [900]
    assert window(hub, "a", 401)
    hub.feed([], 1_000, 0.0)
    assert hub._pieces == {}


def test_of_several_pieces_each_is_let_go_of_with_its_beginning() -> None:
    hub = fed(*"a" * 1_000)
    for after in (500, 700, 900):
        assert window(hub, "a", after)
    hub.feed([], 600, 0.0)
    hub.feed([], 800, 0.0)
    assert [after for _, after in hub._pieces] == [900]


def test_only_so_many_pieces_are_kept() -> None:
    hub = fed(*"a" * 1_000)
    for after in range(200):
        hub.piece_after(Selection.of("a"), after)
    assert len(hub._pieces) == _PIECES


def test_a_follower_that_leaves_takes_no_other_along() -> None:
    hub = fed()
    gone, stays = join(hub, "a", RecordingSink()), join(hub, "a", RecordingSink())
    hub.leave(Selection.of("a"), RAW, gone)
    hub.leave(Selection.of("a"), RAW, gone)
    fed("a", hub=hub)
    assert (len(gone.heard), len(stays.heard)) == (0, 1)
    assert hub.deliveries == 1


def test_deliveries_are_counted_by_message_and_follower() -> None:
    hub = fed()
    for rooms in ("a", "a", "b"):
        join(hub, rooms, RecordingSink())
    fed("a", "a", "b", "c", hub=hub)
    assert hub.deliveries == 2 * 2 + 1


def test_deliveries_are_counted_until_a_follower_falls_behind() -> None:
    hub = fed()
    for sink in (RecordingSink(), RecordingSink(room=1)):
        join(hub, "a", sink)
    hub.feed([message(seq, body=b"x" * PIECE_BYTES) for seq in range(1, 5)], 0, 0.0)
    assert hub.deliveries == 4 + 1


def test_a_piece_read_after_others_were_let_go_is_let_go_of_as_well() -> None:
    hub = fed(*"a" * 100)
    assert window(hub, "a", 50)
    hub.feed([], 60, 0.0)
    assert hub._pieces == {}
    assert window(hub, "a", 70)
    hub.feed([], 80, 0.0)
    assert hub._pieces == {}


def test_a_burst_of_several_pieces_comes_once_and_in_order() -> None:
    hub, live = fed(), RecordingSink()
    join(hub, "a", live)
    body = b'{"room":"a","text":"%b"}' % (b"x" * (PIECE_BYTES // 4))
    hub.feed([message(seq, body=body) for seq in range(1, 21)], 0, 0.0)
    assert len(live.heard) == 5
    heard = b"".join(live.heard)
    assert re.findall(rb"id: test-(\d+)\n", heard) == [b"%d" % seq for seq in range(1, 21)]


def test_a_quiet_room_is_served_from_memory_however_much_a_busy_one_evicts() -> None:
    hub = fed(*"bbba", *"b" * 20, window_bytes=24 * 324)
    assert window(hub, "a", 0) == [4]
    fed("b", hub=hub)
    assert (window(hub, "b", 0), window(hub, "a", 0), window(hub, "ab", 0)) == (None, [4], None)


def test_the_newest_are_counted_without_those_that_were_trimmed() -> None:
    """Otherwise `replay=20` would begin before the oldest retained message, and be told of a loss that it must not
    be told of."""
    hub = fed(*"a" * 20)
    hub.feed([], 5, 0.0)
    rooms = Selection.of("a")
    assert [hub.seek_newest(rooms, count) for count in (1, 15, 16, 20)] == [19, 5, 5, 5]


def test_an_empty_log_has_no_newest() -> None:
    assert [fed().seek_newest(Selection.of("a"), count) for count in (0, 1)] == [0, 0]
