"""The idempotency keys of a log in SQLite: which are known, and when they are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from roomcast.log.sequencer import KEY_MS, KeyedAppend, NewKey
from roomcast.log.sqlite import keys
from roomcast.log.sqlite.keys import KeyTable, rows_of
from roomcast.log.sqlite.opening import open_database
from roomcast.log.sqlite.write_connection import WriteConnection
from tests.log.steps import key

NOW = 10 * KEY_MS


@pytest.fixture
def database(path: Path) -> Iterator[WriteConnection]:
    opened = open_database(str(path), new_epoch=False, synchronous="off")
    opened.reader.close()
    database = WriteConnection(opened.writer, opened.files)
    yield database
    database.close()
    opened.lock.release()


def store(database: WriteConnection, count: int, stored_at: int, *, gone: bool) -> None:
    """Stores keys named by their numbers, each of a message of its own."""
    for number in range(count):
        kept = KeyedAppend(b"digest", number + 1, 1, stored_at + number)
        database.connection.execute(
            "INSERT INTO keys (scope, key, digest, first, count, stored_at, gone)"
            "SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, :gone"
            " FROM json_each(:rows)",
            {"rows": rows_of([NewKey("", str(number), kept)]), "gone": gone},
        )


def known(database: WriteConnection, count: int) -> list[int]:
    found = KeyTable(database).load([key(str(number)) for number in range(count)], NOW)
    return sorted(int(name) for _, name in found)


@pytest.mark.parametrize("gone", [False, True])
def test_a_key_is_known_for_its_time_although_its_message_is_gone(database: WriteConnection, gone: bool) -> None:
    store(database, 3, NOW - KEY_MS - 1, gone=gone)
    assert known(database, 3) == ([2] if gone else [0, 1, 2])
    [kept] = KeyTable(database).load([key("2")], NOW).values()
    assert kept == KeyedAppend(b"digest", 3, 1, NOW - KEY_MS + 1)


def test_keys_are_forgotten_in_steps_once_they_are_old(
    database: WriteConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_FORGET_STEP", 2)
    store(database, 5, NOW - KEY_MS - 2, gone=True)
    table = KeyTable(database)
    left = []
    for messages in (1, 0, 0, 0):  # counted only after messages were trimmed, until a step finds fewer than it may
        table.note_trimmed(messages)
        table.tidy(NOW)
        left.append(database.connection.execute("SELECT count(*) FROM keys").get)
    assert left == [3, 2, 2, 2]


def test_no_more_keys_are_kept_than_allowed_and_none_whose_message_is_there_is_forgotten(
    database: WriteConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "GONE_KEYS", 3)
    store(database, 5, NOW, gone=True)
    table = KeyTable(database)
    table.tidy(NOW)
    assert known(database, 5) == [0, 1, 2, 3, 4]
    table.note_trimmed(1)
    table.tidy(NOW)
    assert known(database, 5) == [2, 3, 4]
    database.connection.execute("UPDATE keys SET gone = 0, stored_at = 0")
    table.note_trimmed(keys._COUNT_AFTER + 1)
    table.tidy(NOW)
    assert known(database, 5) == [2, 3, 4]
