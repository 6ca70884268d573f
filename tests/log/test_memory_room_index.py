"""A room of the log in memory: what it lists of its gone messages, and what it counts."""

from __future__ import annotations

import pytest

from roomcast.log.memory import room_index
from roomcast.log.memory.room_index import RoomIndex
from roomcast.log.trimming import Trimming
from roomcast.model.message import Message
from roomcast.model.retention import RoomRule


def message(seq: int) -> Message:
    return Message(seq, "a", None, 10 * seq, seq - 1, b"{}")


@pytest.fixture(autouse=True)
def few_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_index, "LISTED_GONE", 4)


def room_of(retained: int, gone: int = 0) -> RoomIndex:
    """A room with the messages 1 to `gone`, which are trimmed, and the next `retained`."""
    room = RoomIndex(Trimming(0, 0, 0))
    for seq in range(1, gone + retained + 1):
        room.add(message(seq))
    for seq in range(1, gone + 1):
        room.trim(message(seq))
    return room


@pytest.mark.parametrize(("retained", "gone"), [(100, 9), (100, 50), (3, 9), (3, 50), (0, 50), (10, 12)])
def test_a_room_lists_at_least_its_latest_gone_messages_and_all_that_it_retains(retained: int, gone: int) -> None:
    room = room_of(retained, gone)
    assert list(room.all()) == list(range(gone + 1, gone + retained + 1))
    for after in range(gone + 1):
        exact = gone - after
        assert room.lost_after(after) >= exact
        if exact <= max(4, retained // 2):
            assert room.lost_after(after) == exact
    assert len(room.seqs) <= retained + max(8, retained) + 1


def test_messages_that_are_listed_no_longer_count_as_one_of_each_seq() -> None:
    room = RoomIndex(Trimming(0, 0, 0))
    for seq in range(2, 102, 2):
        room.add(message(seq))
    for seq in range(2, 92, 2):
        room.trim(message(seq))
    listed_after = room.seqs[0] - 2
    assert 0 < listed_after < 90
    assert room.lost_after(listed_after) == (90 - listed_after) // 2
    assert room.lost_after(listed_after - 1) == (90 - listed_after) // 2 + 1
    assert room.lost_after(0) == (90 - listed_after) // 2 + listed_after


def test_the_rule_holds_after_gone_messages_are_listed_no_longer() -> None:
    room = room_of(3)
    room.apply(RoomRule("a", max_messages=3))
    for seq in range(4, 40):
        room.add(message(seq))
        assert len(room.seqs) > room.limit
        assert room.is_over()
        room.trim(message(seq - 3))


def test_a_new_rule_holds_at_once() -> None:
    room = room_of(5, gone=2)
    room.apply(RoomRule("a", max_messages=5))
    assert len(room.seqs) <= room.limit
    room.apply(RoomRule("a", max_messages=4))
    assert len(room.seqs) > room.limit
    room.apply(None)
    assert not room.is_over()


def test_a_rule_in_bytes_allows_exactly_its_bytes() -> None:
    room = room_of(5)
    room.apply(RoomRule("a", max_bytes=10))
    room.bytes = 10
    assert not room.is_over()
    room.bytes = 11
    assert room.is_over()


def test_a_deleted_room_has_lost_all_its_messages_and_lists_few_of_them() -> None:
    room = room_of(50)
    room.deleted[7], room.bytes = 1, 100
    room.clear()
    assert (len(room), room.trimmed[:3], room.deleted, room.bytes) == (0, (50, 500, 50), {}, 0)
    assert len(room.seqs) <= 4
    assert room.lost_after(46) == 4


def test_a_room_that_the_log_had_forgotten_begins_where_it_was_trimmed() -> None:
    assert RoomIndex(Trimming(7, 70, 7)).trimmed == Trimming(7, 70, 7, capped=7)
