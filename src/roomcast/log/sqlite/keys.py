"""The idempotency keys in the database, as the writer uses them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from roomcast.log.base import Idempotency
from roomcast.log.sequencer import GONE_KEYS, KEY_MS, Key, KeyedAppend, NewKey
from roomcast.log.sqlite.queries import to_json
from roomcast.log.sqlite.write_connection import WriteConnection

_COUNT_AFTER = 10_000
"""After this many trimmed messages, the keys whose message is gone are counted."""
_FORGET_STEP = 1_000
"""How many keys are forgotten at once."""

_rows = msgspec.json.Decoder(list[tuple[str, str, str, int, int, int, int]])


class KeyTable:
    """Loads keys, and forgets those that are no longer kept."""

    def __init__(self, database: WriteConnection) -> None:
        self._database = database
        self._maybe_gone = _COUNT_AFTER
        """How many keys may have lost their message since they were counted."""

    def load(self, requested: Iterable[Idempotency], now: int) -> dict[Key, KeyedAppend]:
        """The keys in `requested` that are known, with what they stored. `now`: in ms since 1970."""
        pairs = to_json([(idempotency.scope, idempotency.key) for idempotency in requested])
        found = self._database.value("load_keys", {"keys": pairs})
        return {
            (scope, key): KeyedAppend(bytes.fromhex(digest), first, size, stored_at)
            for scope, key, digest, first, size, stored_at, gone in _rows.decode(found)
            if not gone or stored_at > now - KEY_MS
        }

    def note_trimmed(self, messages: int) -> None:
        """Notes that this many messages were trimmed."""
        self._maybe_gone += messages

    def tidy(self, now: int) -> None:
        """Forgets keys whose message is gone, if they are old enough or there are too many of them. One step, and
        only now and then. `now`: in ms since 1970."""
        if self._maybe_gone <= _COUNT_AFTER:
            return
        gone = self._database.value("count_gone_keys", {})
        step = {"until": now - KEY_MS, "more": max(0, gone - GONE_KEYS), "limit": _FORGET_STEP}
        if self._database.change("forget_keys", step) < _FORGET_STEP:
            self._maybe_gone = 0


def rows_of(keys: Sequence[NewKey]) -> str:
    """New keys as a parameter of a step of the writer."""
    return to_json([(new.scope, new.key, *_kept(new.append)) for new in keys]) if keys else "[]"


def _kept(kept: KeyedAppend) -> tuple[str, int, int, int]:
    return kept.digest.hex(), kept.first, kept.size, kept.stored_at
