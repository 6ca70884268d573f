"""Gives appends their place in the log, and each its answer; stores nothing.

All backends number by it, so that a key, a `seq` and a `prev` mean the same on each of them. What it was
told stays as it was until the backend has stored the result: a failed commit leaves no hole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from roomcast.log.base import Appended, Idempotency
from roomcast.model.errors import KeyReused, TooLarge
from roomcast.model.message import Draft, Message
from roomcast.model.retention import NO_CAP, Retention, RoomRules

NO_RULES = RoomRules(())
KEY_MS = 600_000
"""How long a key is kept at least, also where its first message is gone sooner."""
GONE_KEYS = 100_000
"""How many of those are kept; the oldest go first."""

Key = tuple[str, str]
"""A scope and an idempotency key in it."""


class Kept(NamedTuple):
    """What is kept of an append that had an idempotency key."""

    digest: bytes
    first: int
    """The seq of its first message."""
    size: int
    """How many messages it stored."""
    stored_at: int
    """When, in ms."""


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
        "_newest",
        "_newest_of",
        "_retention",
        "_rules",
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
        rules: RoomRules = NO_RULES,
    ) -> None:
        """Begins at `after`. `newest_of` gives the newest message of a room, `keys` what is known of those asked
        for, and is added to; `rules` are what each room retains by itself."""
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
        self._rules = rules if rules.rules else None

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None) -> Appended:
        """Numbers `drafts`, or finds what the same request stored before. Raises `KeyReused`, `TooLarge`."""
        if idempotency and (kept := self._keys.get((idempotency.scope, idempotency.key))):
            return repeat(kept, drafts, idempotency)
        size = check_size(drafts, self._retention)
        rules = self._rules
        if rules is not None and (len(drafts) > rules.least_messages or size > rules.least_bytes):
            check_rooms(drafts, rules)
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
            self._keep(idempotency, Kept(idempotency.digest, first, len(messages), self._stored_at))
        return Appended(messages, False)

    def _keep(self, idempotency: Idempotency, kept: Kept) -> None:
        self._keys[idempotency.scope, idempotency.key] = kept
        self.new_keys.append(NewKey(idempotency.scope, idempotency.key, kept))


def repeat(kept: Kept, drafts: Sequence[Draft], idempotency: Idempotency) -> Appended:
    """The first answer, made from the same request: what was stored may be gone. Raises `KeyReused`."""
    if kept.digest != idempotency.digest:
        raise KeyReused("This Idempotency-Key was used for another request: send a new request with a new key.")
    numbered = enumerate(drafts, kept.first)
    messages = [Message(seq, room, type_, kept.stored_at, 0, body) for seq, (room, type_, body) in numbered]
    return Appended(messages, repeated=True)


def check_size(drafts: Sequence[Draft], retention: Retention) -> int:
    """The bytes of their bodies. Raises `TooLarge` where the log could not retain `drafts` even if it held nothing
    else."""
    if len(drafts) > retention.max_messages:
        raise TooLarge(f"These are {len(drafts)} messages, and the log retains {retention.max_messages}.")
    size = 0
    for draft in drafts:
        size += len(draft.body)
    if size > retention.max_bytes:
        raise TooLarge(f"These are {size} bytes, and the log retains {retention.max_bytes}.")
    return size


def check_rooms(drafts: Sequence[Draft], rules: RoomRules) -> None:
    """Raises `TooLarge` where a room could not retain its part of `drafts` even if it held nothing else."""
    counts, sizes = Counter(draft.room for draft in drafts), Counter[str]()
    if rules.least_bytes < NO_CAP:
        for room, _, body in drafts:
            sizes[room] += len(body)
    for room, count in counts.items():
        if count <= rules.least_messages and sizes[room] <= rules.least_bytes:
            continue
        rule = rules.of(room)
        if rule and rule.max_messages is not None and count > rule.max_messages:
            raise TooLarge(f"These are {count} messages for {room}, and it retains {rule.max_messages}.")
        if rule and rule.max_bytes is not None and sizes[room] > rule.max_bytes:
            raise TooLarge(f"These are {sizes[room]} bytes for {room}, and it retains {rule.max_bytes}.")
