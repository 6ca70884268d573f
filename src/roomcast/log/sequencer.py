"""Gives appends their place in the log, and each its answer; stores nothing.

Both backends number by it, so that a key, a `seq` and a `prev` mean the same on each of them. What it was
told stays as it was until the backend has stored the result: a failed commit leaves no hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from roomcast.log.base import Appended, Idempotency
from roomcast.model.errors import KeyReused, TooLarge
from roomcast.model.message import Draft, Message
from roomcast.model.retention import Retention

Key = tuple[str, str]
"""A scope and an idempotency key in it."""


class Kept(NamedTuple):
    """What is kept of an append that had an idempotency key."""

    digest: bytes
    first: int
    """The seq of its first message."""
    size: int
    """How many messages it stored."""


class NewKey(NamedTuple):
    """A key to store with the messages."""

    scope: str
    key: str
    kept: Kept


class Sequencer:
    """A group of appends on their way into the log."""

    __slots__ = (
        "_after",
        "_keys",
        "_load",
        "_newest",
        "_newest_of",
        "_retention",
        "_stored_at",
        "messages",
        "new_keys",
    )

    def __init__(
        self,
        retention: Retention,
        after: int,
        stored_at: int,
        newest_of: Callable[[str], int],
        keys: dict[Key, Kept],
        load: Callable[[Kept], Sequence[Message]],
    ) -> None:
        """Begins at `after`. `newest_of` gives the newest message of a room, `keys` what is known of those asked
        for, and is added to; `load` reads what is kept of a key."""
        self.messages: list[Message] = []
        """What is to be stored, without a hole from `after + 1` on."""
        self.new_keys: list[NewKey] = []
        """The idempotency keys to be stored with them."""
        self._retention = retention
        self._after = after
        self._stored_at = stored_at
        self._newest_of = newest_of
        self._newest: dict[str, int] = {}
        """The newest of each room in this group."""
        self._keys = keys
        self._load = load

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None) -> Appended:
        """Numbers `drafts`, or finds what the same request stored before. Raises `KeyReused`, `TooLarge`."""
        if idempotency and (kept := self._keys.get((idempotency.scope, idempotency.key))):
            return self._repeat(kept, idempotency)
        check_size(drafts, self._retention)
        first = seq = self._after + len(self.messages) + 1
        newest, messages = self._newest, []
        for room, type_, body in drafts:
            prev = newest.get(room)
            if prev is None:
                prev = self._newest_of(room)
            messages.append(Message(seq, room, type_, self._stored_at, prev, body))
            newest[room] = seq
            seq += 1
        self.messages += messages
        if idempotency and messages:
            self._keep(idempotency, Kept(idempotency.digest, first, len(messages)))
        return Appended(messages, False)

    def _keep(self, idempotency: Idempotency, kept: Kept) -> None:
        self._keys[idempotency.scope, idempotency.key] = kept
        self.new_keys.append(NewKey(idempotency.scope, idempotency.key, kept))

    def _repeat(self, kept: Kept, idempotency: Idempotency) -> Appended:
        if kept.digest != idempotency.digest:
            raise KeyReused(
                "This Idempotency-Key was used for another request: send a new request with a new key."
            )
        return Appended(self._messages_of(kept), repeated=True)

    def _messages_of(self, kept: Kept) -> Sequence[Message]:
        start = kept.first - self._after - 1
        return self._load(kept) if start < 0 else self.messages[start : start + kept.size]


def check_size(drafts: Sequence[Draft], retention: Retention) -> None:
    """Raises `TooLarge` where the log could not retain `drafts` even if it held nothing else."""
    if len(drafts) > retention.max_messages:
        raise TooLarge(f"These are {len(drafts)} messages, and the log retains {retention.max_messages}.")
    size = 0
    for draft in drafts:
        size += len(draft.body)
    if size > retention.max_bytes:
        raise TooLarge(f"These are {size} bytes, and the log retains {retention.max_bytes}.")
