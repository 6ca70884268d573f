"""Links the documents of a group to the newest document, and checks afterwards whether they are in their place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from roomcast.log.base import Idempotency
from roomcast.log.mongodb.documents import AppendDocument, key_of
from roomcast.log.mongodb.view import NewestSeen, View
from roomcast.log.trimming import Trimming
from roomcast.model.message import Message


class Chain:
    """The documents of one group. Each follows the one before it; the first follows the newest document seen."""

    def __init__(self, view: View) -> None:
        """`view`: the log as this process has seen it, which ends with that newest document."""
        self.entries: list[AppendDocument] = []
        self._view = view
        self._previous_nonce = view.seen.nonce
        self._bytes = view.seen.bytes
        self._newest: dict[str, Trimming] = {}

    def add(self, nonce: int, messages: Sequence[Message], idempotency: Idempotency | None) -> None:
        """Appends a document to `entries`: the numbered `messages` of one append, its `nonce` and its
        `idempotency` key, if it has one."""
        size = sum(len(message.body) for message in messages)
        before = [self._note(message) for message in messages]
        key, digest = (
            (key_of(idempotency.scope, idempotency.key), idempotency.digest) if idempotency else (None, b"")
        )
        self.entries.append(
            AppendDocument(messages, before, nonce, self._previous_nonce, self._bytes, size, key, digest)
        )
        self._previous_nonce = nonce
        self._bytes += size

    def _note(self, message: Message) -> Trimming:
        """Returns the state of the room before a message, and notes the message."""
        before = self._newest.get(message.room) or self._view.rooms.newest_of(message.room)
        self._newest[message.room] = Trimming(message.seq, message.stored_at, before.lost + 1)
        return before


def out_of_place(before: NewestSeen, written: Sequence[AppendDocument], found: Sequence[AppendDocument]) -> bool:
    """Whether a number that this process used had already been used, and trimmed, by another process.

    `before`: the newest document when this process wrote. `written`: the documents that it wrote. `found`: the
    documents that the collection has now, from `before` on, with the one after the last of `written`, if there is
    one.
    """
    if found and before.nonce and found[0].nonce == before.nonce:
        return False  # the oldest are trimmed first, so nothing after `before` was ever trimmed
    ours = {entry.nonce for entry in written}
    return any(
        one.nonce in ours and (next_one.first != one.last + 1 or next_one.previous_nonce not in (0, one.nonce))
        for one, next_one in pairwise(found)
    )
