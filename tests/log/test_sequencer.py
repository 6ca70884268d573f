"""Numbers for a group of appends that is about to be stored."""

from __future__ import annotations

import pytest

from roomcast.log.sequencer import Key, KeyedAppend, Sequencer
from roomcast.model.errors import KeyReused, TooLarge
from roomcast.model.retention import Retention, RoomRule, RoomRules
from tests.log.steps import draft, key, seqs

NEWEST = {"a": 7, "b": 3}


def sequencer(
    retention: Retention | None = None,
    keys: dict[Key, KeyedAppend] | None = None,
    rules: tuple[RoomRule, ...] = (),
) -> Sequencer:
    """The sequencer of a log whose newest message is 10."""
    return Sequencer(
        retention or Retention(), 10, 5_000, lambda room: NEWEST.get(room, 2), keys or {}, RoomRules(rules)
    )


def test_each_message_names_the_one_before_it_in_its_room() -> None:
    group = sequencer()
    group.append([draft(room) for room in "aab"], None)
    group.append([draft(room) for room in "bac"], None)
    assert [(m.seq, m.room, m.prev, m.stored_at) for m in group.messages] == [
        *((11, "a", 7, 5_000), (12, "a", 11, 5_000), (13, "b", 3, 5_000)),
        *((14, "b", 13, 5_000), (15, "a", 12, 5_000), (16, "c", 2, 5_000)),
    ]


def test_an_append_of_nothing_takes_no_key() -> None:
    group = sequencer()
    group.append([], key("k", b"one"))
    assert group.new_keys == []
    assert seqs(group.append([draft()], key("k", b"another")).messages) == [11]


def test_a_key_of_this_group_or_of_an_earlier_one_is_answered_as_it_was() -> None:
    group = sequencer(keys={("", "old"): KeyedAppend(b"digest", 4, 2, 1_000)})
    again = group.append([draft("a"), draft("b")], key("old"))
    assert again.repeated
    assert [(m.seq, m.room, m.stored_at) for m in again.messages] == [(4, "a", 1_000), (5, "b", 1_000)]
    assert not group.append([draft()], key("new")).repeated
    assert group.append([draft()], key("new")).repeated
    assert [(new.key, new.append.first, new.append.size) for new in group.new_keys] == [("new", 11, 1)]
    for name in ("old", "new"):
        with pytest.raises(KeyReused):
            group.append([draft()], key(name, b"another"))


@pytest.mark.parametrize(
    ("count", "size", "fits"), [(4, 2, True), (5, 2, False), (1, 20, True), (2, 10, True), (2, 11, False)]
)
def test_an_append_must_fit_into_an_empty_log(count: int, size: int, fits: bool) -> None:
    group = sequencer(Retention(4, 20))
    drafts = [draft(body=b"x" * size)] * count
    if fits:
        assert len(group.append(drafts, None).messages) == count
    else:
        with pytest.raises(TooLarge):
            group.append(drafts, None)
        assert not group.messages


@pytest.mark.parametrize(
    ("rooms", "size", "fits"),
    [
        ("aa", 1, True),
        ("aaa", 1, False),
        ("ababab", 1, False),
        ("bb", 5, True),
        ("bb", 6, False),
        ("bbbcccc", 3, True),
        ("cccccc", 9, True),
        ("dddd", 1, True),
        ("ddddd", 1, False),
        ("ee", 10, True),
        ("ee", 11, False),
    ],
)
def test_an_append_must_fit_into_each_of_its_rooms(rooms: str, size: int, fits: bool) -> None:
    messages, sizes = {"a": 2, "d": 4}, {"b": 10, "e": 20}
    group = sequencer(
        rules=(
            *(RoomRule(room, max_messages=most) for room, most in messages.items()),
            *(RoomRule(room, max_bytes=most) for room, most in sizes.items()),
        )
    )
    drafts = [draft(room, b"x" * size) for room in rooms]
    if fits:
        assert len(group.append(drafts, None).messages) == len(rooms)
    else:
        with pytest.raises(TooLarge, match=r"for [abde], and it retains"):
            group.append(drafts, None)
