"""The messages that the writer has stored but not yet added to the register, by room.

The register is a table with about one row per thousand messages, so it costs a commit almost nothing. A message is
registered before it is trimmed. The register therefore has the rooms of the newest gone messages, even after
kill -9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from roomcast.log.sqlite.queries import to_json
from roomcast.log.sqlite.write_cache import ReadRow
from roomcast.model.message import Message

ROW_MESSAGES = 1_000
"""A row is written once there are this many messages."""

_rooms = msgspec.json.Decoder(list[tuple[str, int]])

NO_ROW: dict[str, Any] = {"last": None, "first": None, "rooms": None}


class Unregistered:
    """The messages after the register's last row."""

    def __init__(self, row: ReadRow) -> None:
        self._row = row
        self._last: int | None = None
        """The last message in the register; None if it must be read first."""
        self._rooms: dict[str, list[int]] = {}
        self._count = 0

    def forget(self) -> None:
        """Forgets everything: the database may differ from it."""
        self._last = None

    def is_due(self, trimmed: int, gone: Sequence[int]) -> bool:
        """Whether the next step of trimming must add a row first. The step removes all messages up to `trimmed`,
        and those in `gone`."""
        last = self._load() if self._last is None else self._last
        return self._count >= ROW_MESSAGES or trimmed > last or (bool(gone) and max(gone) > last)

    def row(self, newest: int) -> dict[str, Any]:
        """All these messages as a row; `newest` is the newest stored message."""
        return {"last": newest, "first": (self._last or 0) + 1, "rooms": to_json(self._rooms)}

    def registered(self, newest: int) -> None:
        """Notes that all of them are in the register now. `newest`: the newest of them."""
        self._last, self._rooms, self._count = newest, {}, 0

    def add(self, messages: Iterable[Message]) -> None:
        """Notes that `messages` were stored. `is_due` must have been called since the last `forget`: otherwise
        they would be counted twice, as it reads them from the database."""
        rooms = self._rooms
        for message in messages:
            seqs = rooms.get(message.room)
            if seqs is None:
                rooms[message.room] = [message.seq]
            else:
                seqs.append(message.seq)
            self._count += 1

    def _load(self) -> int:
        last, found = self._row("load_unregistered", {})
        self.registered(int(last))
        for room, seq in _rooms.decode(found):
            self._rooms.setdefault(room, []).append(seq)
            self._count += 1
        return int(last)
