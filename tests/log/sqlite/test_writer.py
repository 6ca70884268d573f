"""The writer, called directly: what each of its jobs stores and removes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from roomcast.log.append_queue import AppendRequest
from roomcast.log.sqlite import room_caps, write_cache
from roomcast.log.sqlite import writer as module
from roomcast.log.sqlite.opening import open_database
from roomcast.log.sqlite.writer import CUT_AT, TRIM_EXTRA, TRIM_STEP, SqliteWriter
from roomcast.model.message import Cut
from roomcast.model.retention import Retention, RoomRule
from tests.log.steps import draft

Open = Callable[..., SqliteWriter]
LARGE = Retention()


def ruled(**rule: int) -> Retention:
    """A large log with a rule for the room a."""
    return Retention(rooms=(RoomRule("a", **rule),))


@pytest.fixture
def open_writer(path: Path) -> Iterator[Open]:
    """A function that opens a writer with these caps and rules, after it has closed the last one."""
    closing: list[Callable[[], None]] = []

    def close() -> None:
        while closing:
            closing.pop()()

    def open_one(retention: Retention = LARGE) -> SqliteWriter:
        close()
        opened = open_database(str(path), new_epoch=False, synchronous="off")
        writer = SqliteWriter(opened.writer, opened.files, opened.state, opened.clock, retention, 10, opened.flags)
        closing.extend((opened.lock.release, writer.close, opened.reader.close))
        return writer

    yield open_one
    close()


def publish(writer: SqliteWriter, names: Sequence[str], floor: int | None = None) -> int:
    """Publishes a message to each of these rooms, in one commit. Returns how far the log is trimmed then."""
    return writer.commit([AppendRequest([draft(name) for name in names], None)], floor).state.trimmed


def stored(writer: SqliteWriter) -> list[int]:
    """The messages that are in the table, in order."""
    return [seq for (seq,) in writer._database.connection.execute("SELECT seq FROM messages ORDER BY seq")]


def test_a_deleted_room_no_longer_counts_for_its_rule(open_writer: Open) -> None:
    writer = open_writer(ruled(max_messages=3))
    publish(writer, "aaa")
    writer.delete_room("a")
    publish(writer, "aaa")
    done = [writer.trim(None) for _ in range(3)]
    assert [(step.cuts, step.state.messages, step.more) for step in done][-1] == ((), 3, False)
    assert stored(writer) == [4, 5, 6]
    open_writer()  # the counts and the messages agree, or it would not open


def test_the_rows_of_a_deleted_room_go_in_steps_until_none_is_left(open_writer: Open) -> None:
    writer = open_writer()
    publish(writer, "a" * (2 * TRIM_STEP + 1))
    assert writer.delete_room("a").more
    left = []
    while (done := writer.trim(None)).more:
        left.append(len(stored(writer)))
    assert left == [TRIM_STEP + 1, 1]
    assert (stored(writer), done.state.messages) == ([], 0)


def test_a_message_of_a_deleted_room_cannot_be_deleted_although_its_row_is_left(open_writer: Open) -> None:
    writer = open_writer()
    publish(writer, "a")
    writer.delete_room("a")
    assert (stored(writer), writer.delete(1).answers) == ([1], (False,))


def test_a_deleted_message_no_longer_counts_for_the_bytes_of_its_room(open_writer: Open) -> None:
    writer = open_writer(ruled(max_bytes=6))
    publish(writer, "aaa")
    writer.delete(2)
    publish(writer, "a")
    assert not writer.trim(None).cuts
    publish(writer, "a")
    assert writer.trim(None).cuts == [Cut("a", 1, 1)]


def test_a_rule_is_kept_by_a_commit_only_once_enough_messages_were_added_beyond_it(open_writer: Open) -> None:
    writer = open_writer(ruled(max_messages=1))
    for _ in range(CUT_AT):
        publish(writer, "a")
    assert len(stored(writer)) == CUT_AT
    publish(writer, "a")
    assert stored(writer) == [CUT_AT + 1]


def test_a_rule_removes_no_message_in_the_commit_that_stores_it(open_writer: Open) -> None:
    """It would not be in the register, and its consumers would be told of it although it is gone."""
    writer = open_writer(ruled(max_messages=1))
    publish(writer, "a")
    committed = writer.commit([AppendRequest([draft()], None)] * (CUT_AT + 1), None)
    assert list(committed.cuts) == [Cut("a", 1, 1)]
    assert stored(writer) == list(range(2, CUT_AT + 3))


def test_a_message_that_a_rule_removed_is_not_counted_again_when_the_log_is_trimmed_past_it(
    open_writer: Open,
) -> None:
    writer = open_writer(Retention(30, rooms=(RoomRule("a", max_messages=2),)))
    for name in "aaaa" + "b" * 27:
        publish(writer, name)
    assert writer.trim(None).cuts == [Cut("a", 2, 1)]
    for _ in range(4):
        publish(writer, "b")
    assert writer.trim(None).state.messages == len(stored(writer)) == 30
    open_writer()


def test_a_flooded_room_removes_nothing_of_others_however_long_no_publish_pauses(open_writer: Open) -> None:
    """So commits alone must bring it down, and as fast as it grows."""
    writer = open_writer(Retention(500, rooms=(RoomRule("a", max_messages=10),)))
    publish(writer, "b" * 20)
    most = 0
    for _ in range(300):
        publish(writer, "a" * 8)
        most = max(most, len(stored(writer)))
    assert stored(writer)[:20] == list(range(1, 21))
    assert most <= 20 + 10 + CUT_AT + 8


def test_a_rule_and_the_caps_of_the_log_together_remove_each_message_once(open_writer: Open) -> None:
    writer = open_writer()
    for _ in range(10):
        publish(writer, "aab")
    writer.set_rules(Retention(12, rooms=(RoomRule("a", max_messages=2),)))
    writer.walk("", None)
    while (done := writer.trim(None)).more:
        pass
    assert done.state.messages == len(stored(writer)) == 12
    assert stored(writer) == [*range(3, 28, 3), 28, 29, 30][-12:]
    publish(writer, "bb")
    while (done := writer.trim(None)).more:
        pass
    assert done.state.messages == len(stored(writer)) == 12
    open_writer()


@pytest.mark.parametrize("oldest", [2, 3, 5, 1_000])
def test_trimming_goes_on_however_many_of_the_oldest_messages_are_cached(
    open_writer: Open, monkeypatch: pytest.MonkeyPatch, oldest: int
) -> None:
    monkeypatch.setattr(write_cache, "OLDEST", oldest)
    writer = open_writer(Retention(5))
    for _ in range(20):
        publish(writer, "abc")
    while writer.trim(None).more:
        pass
    assert stored(writer) == list(range(56, 61))


@pytest.mark.parametrize("floor", [0, 1, 4, 6, 100])
def test_nothing_after_the_floor_is_trimmed(open_writer: Open, floor: int) -> None:
    publish(open_writer(), "aaaaaa")
    writer = open_writer(Retention(2))
    assert writer.trim(floor).state.trimmed == min(floor, 4)


def test_a_commit_trims_only_what_was_stored_before_it(open_writer: Open) -> None:
    writer = open_writer(Retention(2))
    publish(writer, "aa")
    assert publish(writer, "aa") == 2
    assert publish(writer, "aa", floor=3) == 3


def test_a_commit_trims_twice_what_it_adds_and_a_little_more(open_writer: Open) -> None:
    publish(open_writer(), "a" * 100)
    writer = open_writer(Retention(3))
    assert publish(writer, "aaa") == 6 + TRIM_EXTRA


def test_messages_that_are_too_old_go_even_if_the_log_is_within_its_caps(
    open_writer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "now_ms", lambda: 1_000_000)
    writer = open_writer(Retention(max_age=60.0))
    publish(writer, "aab")
    writer._database.connection.execute("UPDATE messages SET stored_at = 1000000 - 60000 + (seq - 2)")
    assert writer.trim(None).state.trimmed == 1  # the second is as old as allowed, and not older


def test_each_row_of_the_register_has_the_messages_after_those_of_the_row_before(open_writer: Open) -> None:
    writer = open_writer(Retention(3))
    for _ in range(4):
        publish(writer, "aba")
        writer.trim(None)
    rows = list(writer._database.connection.execute("SELECT first, last, rooms FROM register ORDER BY last"))
    assert rows[0][0] == 1
    assert [first for first, *_ in rows[1:]] == [last + 1 for _, last, _ in rows[:-1]]
    seqs = sorted(seq for *_, rooms in rows for seqs in json.loads(rooms).values() for seq in seqs)
    assert seqs == list(range(1, rows[-1][1] + 1))


def test_the_cache_of_rooms_with_rules_is_emptied_when_it_is_large(
    open_writer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_caps, "ROOMS", 2)
    writer = open_writer()
    writer.set_rules(Retention(rooms=(RoomRule("*", max_messages=9),)))
    for name in "abcdefg":
        publish(writer, name)
        assert len(writer._caps._rooms) <= 3


def test_a_room_that_comes_back_after_it_was_forgotten_follows_the_newest_of_the_forgotten(
    open_writer: Open,
) -> None:
    publish(open_writer(), [f"r{number}" for number in range(30)])
    writer = open_writer(Retention(1))
    while writer.trim(None).more:
        pass
    [message] = writer.commit([AppendRequest([draft("r0")], None)], None).messages
    [[forgotten]] = writer._database.connection.execute("SELECT forgotten FROM state")
    assert message.prev == forgotten > 10


def test_rooms_that_were_emptied_before_a_restart_are_forgotten_after_it(open_writer: Open) -> None:
    writer = open_writer()
    names = [f"r{number}" for number in range(30)]
    publish(writer, names)
    for name in names:
        writer.delete_room(name)
    writer = open_writer()
    writer.trim(None)
    assert writer._database.value("count_empty_rooms", {}) == 10
