"""The rooms with rules, as the writer knows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from roomcast.log.sqlite import room_caps
from roomcast.log.sqlite.room_caps import OLDEST, RoomCaps, _Room
from roomcast.model.message import Cut, Message
from roomcast.model.retention import RoomRule, RoomRules

NOW = 1_000_000


def message(seq: int, room: str = "a", stored_at: int = 0) -> Message:
    return Message(seq, room, None, stored_at, 0, b"{}")


class Table:
    """The stored messages, as `load_rooms` returns them: at most `limit` of each room, after the seq `after`."""

    def __init__(self) -> None:
        self.messages: dict[str, list[Message]] = {}
        self.reads = 0

    def add(self, *messages: Message) -> Sequence[Message]:
        for one in messages:
            self.messages.setdefault(one.room, []).append(one)
        return messages

    def row(self, name: str, parameters: dict[str, Any]) -> Sequence[Any]:
        self.reads += 1
        found = []
        for room in json.loads(parameters["rooms"]):
            stored = self.messages.get(room, [])
            rows = [(one.seq, 2, one.stored_at) for one in stored if one.seq > parameters["after"]]
            oldest = rows[: parameters["limit"]]
            found.append((room, len(stored), 2 * len(stored), oldest))
        return [json.dumps(found)]


@pytest.fixture
def table() -> Table:
    return Table()


def caps(table: Table, *rules: RoomRule) -> RoomCaps:
    return RoomCaps(RoomRules(rules), table.row)


def test_the_cached_messages_of_a_room_are_bounded_and_in_order() -> None:
    room = _Room(RoomRule("a", max_messages=2), 0, 0)
    for seq in range(1, 1_001):
        is_over = room.add(message(seq), 2)
        assert is_over is (seq > 2)
        if is_over:
            assert room.trim() == (seq - 2, 2)
        assert len(room.oldest) <= 6 * OLDEST


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_cut_removes_no_more_than_its_limit_and_the_next_one_goes_on(table: Table, limit: int) -> None:
    two = caps(table, RoomRule("*", max_messages=1))
    two.learn([message(seq, room) for seq, room in enumerate("ababab", 1)], 0)
    cuts, seqs, size = two.cut(limit, 0, 6, NOW)
    assert (seqs, size) == ([1, 3, 2][:limit], 2 * limit)
    assert sum(cut.gone for cut in cuts) == limit
    assert two.cut(10, 0, 6, NOW)[1] == [1, 3, 2, 4][limit:]
    assert not two.over


def test_a_cut_that_has_reached_its_limit_reads_no_further_room(table: Table) -> None:
    many = caps(table, RoomRule("*", max_messages=1))
    table.add(*(message(seq, room) for seq, room in enumerate("aabbcc", 1)))
    many.note_walked([(room, 2, 4, 0) for room in "abc"], NOW)
    assert (many.cut(1, 0, 6, NOW)[1], table.reads) == ([1], 1)


def test_a_room_that_a_cut_brought_down_is_over_its_rule_again_if_the_cut_failed(table: Table) -> None:
    one = caps(table, RoomRule("a", max_messages=1))
    one.learn([message(seq) for seq in (1, 2)], 0)
    one.cut(10, 0, 2, NOW)
    assert not one.over
    one.forget()
    assert list(one.over) == ["a"]


def test_nothing_newer_than_the_end_is_cut_although_the_room_stays_over_its_rule(table: Table) -> None:
    one = caps(table, RoomRule("a", max_messages=1))
    one.learn([message(seq) for seq in (1, 2, 3)], 0)
    assert one.cut(10, 0, 1, NOW) == ([Cut("a", 1, 1)], [1], 2)
    assert one.cut(10, 0, 1, NOW) == ([], [], 0)
    assert one.cut(10, 0, 3, NOW) == ([Cut("a", 2, 1)], [2], 2)


def test_a_room_is_cut_beyond_what_is_cached_without_those_that_the_same_cut_removes(table: Table) -> None:
    one = caps(table, RoomRule("a", max_messages=1))
    table.add(*(message(seq) for seq in range(1, OLDEST + 31)))
    one.note_walked([("a", OLDEST + 30, 0, 0)], NOW)
    first = one.cut(OLDEST - 2, 0, 1_000, NOW)[1]
    assert first == list(range(1, OLDEST - 1))
    del table.messages["a"][: OLDEST - 2]
    assert one.cut(10, 0, 1_000, NOW)[1] == list(range(OLDEST - 1, OLDEST + 9))


def test_a_cut_goes_as_far_as_its_limit_however_many_messages_are_read_at_once(table: Table) -> None:
    one = caps(table, RoomRule("a", max_messages=1))
    table.add(*(message(seq) for seq in range(1, 5 * OLDEST)))
    one.note_walked([("a", 5 * OLDEST - 1, 0, 0)], NOW)
    assert one.cut(4 * OLDEST, 0, 1_000, NOW)[1] == list(range(1, 4 * OLDEST + 1))
    del table.messages["a"][: 4 * OLDEST]
    assert one.cut(4 * OLDEST, 0, 1_000, NOW)[1] == list(range(4 * OLDEST + 1, 5 * OLDEST - 1))
    assert not one.over


@pytest.mark.parametrize(("age_ms", "goes"), [(59_999, False), (60_000, False), (60_001, True)])
def test_a_message_goes_once_it_is_older_than_its_rule_allows(table: Table, age_ms: int, goes: bool) -> None:
    one = caps(table, RoomRule("a", max_age=60.0))
    table.add(message(1, stored_at=NOW - age_ms))
    one.note_walked([("a", 1, 2, NOW - age_ms)], NOW)
    assert bool(one.over) is goes
    one.over["a"] = None
    assert one.cut(10, 0, 1, NOW)[1] == [1] * goes


def test_a_walk_notes_only_rooms_with_a_rule_that_have_too_much(table: Table) -> None:
    two = caps(table, RoomRule("a", max_messages=2), RoomRule("b", max_bytes=10))
    two.note_walked([("a", 2, 99, 0), ("b", 99, 10, 0), ("c", 99, 99, 0)], NOW)
    assert not two.over
    two.note_walked([("a", 3, 0, 0), ("b", 0, 11, 0)], NOW)
    assert list(two.over) == ["a", "b"]


def test_messages_that_the_caps_of_the_whole_log_trimmed_no_longer_count(table: Table) -> None:
    one = caps(table, RoomRule("a", max_messages=2))
    one.learn([message(1), message(2)], 0)
    one.learn([message(3)], 1)
    assert not one.over
    one.learn([message(4)], 1)
    assert list(one.over) == ["a"]


def test_a_room_is_read_again_if_more_was_trimmed_than_is_cached(table: Table) -> None:
    one = caps(table, RoomRule("a", max_messages=1_000))
    count = OLDEST + 5
    one.learn(table.add(*(message(seq) for seq in range(1, count + 1))), 0)
    assert table.reads == 1
    table.messages["a"] = [message(count)]
    one.learn([message(count + 1)], count - 1)
    assert table.reads == 2
    assert one._rooms["a"].messages == 2


def test_the_cache_is_emptied_between_two_steps_if_it_is_too_large(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_caps, "ROOMS", 2)
    many = caps(table, RoomRule("*", max_messages=1))
    many.learn([message(seq, room) for seq, room in enumerate("ab", 1)], 0)
    many.make_space()
    many.learn([message(3, "a")], 0)
    assert list(many.over) == ["a"]  # the cache was kept: nothing was stored, and yet two messages are known
    many.learn([message(4, "c")], 0)
    many.make_space()
    assert not many._rooms
    assert list(many.over) == ["a"]
