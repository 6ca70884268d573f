"""Documents that follow each other: how a group is chained to what was seen, and whether it is in its place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from roomcast.log.base import Idempotency
from roomcast.log.mongodb.documents import Entry, key_of
from roomcast.log.mongodb.view import Seen, View
from roomcast.log.trimming import Trimmed
from roomcast.model.message import Message


class Chain:
    """Entries that follow each other, and what was seen."""

    def __init__(self, view: View) -> None:
        self.entries: list[Entry] = []
        self._view = view
        self._after = view.seen.nonce
        self._bytes = view.seen.bytes
        self._newest: dict[str, Trimmed] = {}

    def add(self, number: int, messages: Sequence[Message], idempotency: Idempotency | None) -> None:
        """An append, with its nonce."""
        size = sum(len(message.body) for message in messages)
        before = [self._pass(message) for message in messages]
        key, digest = (
            (key_of(idempotency.scope, idempotency.key), idempotency.digest) if idempotency else (None, b"")
        )
        self.entries.append(Entry(messages, before, number, self._after, self._bytes, size, key, digest))
        self._after = number
        self._bytes += size

    def _pass(self, message: Message) -> Trimmed:
        """What its room was before it."""
        before = self._newest.get(message.room) or self._view.rooms.newest_of(message.room)
        self._newest[message.room] = Trimmed(message.seq, message.stored_at, before.lost + 1)
        return before


def out_of_place(before: Seen, written: Sequence[Entry], found: Sequence[Entry]) -> bool:
    """Whether any of what we wrote after `before` is not in its place. `found` is what there is from there on."""
    if found and before.nonce and found[0].nonce == before.nonce:
        return False  # the oldest go first: where that is still there, nothing behind it was ever trimmed
    ours = {entry.nonce for entry in written}
    return any(
        one.nonce in ours and (next_one.first != one.last + 1 or next_one.after not in (0, one.nonce))
        for one, next_one in pairwise(found)
    )
