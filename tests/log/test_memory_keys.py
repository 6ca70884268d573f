"""The idempotency keys of the log in memory: how long they are kept."""

from __future__ import annotations

import pytest

from roomcast.log.base import Idempotency
from roomcast.log.memory import keys as memory_keys
from roomcast.log.memory.keys import MemoryKeys
from roomcast.log.sequencer import KEY_MS, KeyedAppend, NewKey


def keys_of(*stored_at: int) -> MemoryKeys:
    """MemoryKeys named by their seqs, from 1, whose messages are gone. `stored_at`: their times in ms."""
    keys = MemoryKeys()
    for seq, time in enumerate(stored_at, 1):
        new = NewKey("", str(seq), KeyedAppend(b"", seq, 1, time))
        keys.known[new.scope, new.key] = new.append
        keys.add([new])
        keys.drop(seq)
    return keys


def names(keys: MemoryKeys) -> list[str]:
    return [key for _, key in keys.known]


def test_a_key_is_forgotten_exactly_after_its_time() -> None:
    keys = keys_of(0, 1)
    keys.expire(None, KEY_MS - 1)
    assert names(keys) == ["1", "2"]
    keys.expire(None, KEY_MS)
    assert names(keys) == ["2"]


def test_a_requested_key_is_forgotten_even_behind_a_younger_one() -> None:
    keys = keys_of(1, 0, 0)
    keys.expire(Idempotency("2", b""), KEY_MS - 1)
    assert names(keys) == ["1", "2", "3"]
    keys.expire(Idempotency("2", b""), KEY_MS)
    assert names(keys) == ["1", "3"]


def test_of_too_many_keys_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_keys, "GONE_KEYS", 2)
    keys = keys_of(0, 0)
    keys.expire(None, 1)
    assert names(keys) == ["1", "2"]
    keys = keys_of(0, 0, 0)
    keys.expire(None, 1)
    assert names(keys) == ["2", "3"]


def test_times_from_the_future_become_the_present() -> None:
    keys = keys_of(5, 6)
    keys.clamp_times(5)
    assert [kept.stored_at for kept in keys.known.values()] == [5, 5]


def test_a_requested_key_stays_as_long_as_its_message_is_there() -> None:
    keys = keys_of(KEY_MS)
    new = NewKey("", "there", KeyedAppend(b"", 9, 1, 0))
    keys.known[new.scope, new.key] = new.append
    keys.add([new])
    keys.expire(Idempotency("there", b""), 2 * KEY_MS - 1)
    assert names(keys) == ["1", "there"]
