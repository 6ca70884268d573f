"""The cache of rooms with rules, in the writer."""

from __future__ import annotations

from roomcast.log.sqlite.room_caps import OLDEST, _Room
from roomcast.model.message import Message
from roomcast.model.retention import RoomRule


def test_the_cached_messages_of_a_room_are_bounded_and_in_order() -> None:
    room = _Room(RoomRule("a", max_messages=2), 0, 0)
    for seq in range(1, 1_001):
        is_over = room.add(Message(seq, "a", None, 0, seq - 1, b"{}"), 2)
        assert is_over is (seq > 2)
        if is_over:
            assert room.trim() == (seq - 2, 2)
        assert len(room.oldest) <= 6 * OLDEST
