"""Numbers a group of appends, and prepares the answer to each. Stores nothing.

All backends but PostgreSQL number with it, so that a key, a `seq` and a `prev` mean the same on each of them. It
changes nothing that the backend knows until the backend has stored the result, so a failed commit leaves no hole.
PostgreSQL numbers in the database, and shares the checks and `repeat`.
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
"""The least time in ms for which a key is kept, even if its first message is gone sooner."""
GONE_KEYS = 100_000
"""How many keys whose message is gone are kept; the oldest go first."""

Key = tuple[str, str]
"""A scope and an idempotency key in it."""


class KeyedAppend(NamedTuple):
    """An earlier append with an idempotency key."""

    digest: bytes
    first: int
    """The seq of its first message."""
    size: int
    """How many messages it stored."""
    stored_at: int
    """When, in ms since 1970."""


class NewKey(NamedTuple):
    """A key to store with the messages."""

    scope: str
    key: str
    append: KeyedAppend


class Sequencer:
    """Numbers one group of appends, which is about to be stored."""

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
        keys: dict[Key, KeyedAppend],
        rules: RoomRules = NO_RULES,
    ) -> None:
        """`after`: the newest seq in the log. `stored_at`: the time of these messages, in ms since 1970.
        `newest_of` returns the newest seq of a room. `keys`: the earlier append of each of the group's idempotency
        keys that is known; new ones are added to it."""
        self.messages: list[Message] = []
        """The messages to store, numbered without a hole from `after + 1` on."""
        self.new_keys: list[NewKey] = []
        """The idempotency keys to store with them."""
        self._retention = retention
        self._after = after
        self._stored_at = stored_at
        self._newest_of = newest_of
        self._newest: dict[str, int] = {}
        """The newest seq of each room in this group."""
        self._keys = keys
        self._rules = rules if rules.rules else None

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None) -> Appended:
        """Numbers `drafts`, or returns what the same request stored before, if the key of `idempotency` is known.
        Raises `KeyReused` if the key was used for another request, and `TooLarge`; it then has changed nothing."""
        if idempotency and (earlier := self._keys.get((idempotency.scope, idempotency.key))):
            return repeat(earlier, drafts, idempotency)
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
            self._keep(idempotency, KeyedAppend(idempotency.digest, first, len(messages), self._stored_at))
        return Appended(messages, False)

    def _keep(self, idempotency: Idempotency, append: KeyedAppend) -> None:
        self._keys[idempotency.scope, idempotency.key] = append
        self.new_keys.append(NewKey(idempotency.scope, idempotency.key, append))


def repeat(earlier: KeyedAppend, drafts: Sequence[Draft], idempotency: Idempotency) -> Appended:
    """The answer that the `earlier` append with the key of `idempotency` got. It is rebuilt from `drafts`, the
    repeated request, as the stored messages may be gone; each `prev` is 0. Raises `KeyReused` if the digests
    differ."""
    if earlier.digest != idempotency.digest:
        raise KeyReused("This Idempotency-Key was used for another request: send a new request with a new key.")
    numbered = enumerate(drafts, earlier.first)
    messages = [Message(seq, room, type_, earlier.stored_at, 0, body) for seq, (room, type_, body) in numbered]
    return Appended(messages, repeated=True)


def check_size(drafts: Sequence[Draft], retention: Retention) -> int:
    """Returns the sum of the bodies, in bytes. Raises `TooLarge` if a log with this `retention` could not retain
    `drafts` even if it were empty."""
    if len(drafts) > retention.max_messages:
        raise TooLarge(f"These are {len(drafts)} messages, and the log retains {retention.max_messages}.")
    size = 0
    for draft in drafts:
        size += len(draft.body)
    if size > retention.max_bytes:
        raise TooLarge(f"These are {size} bytes, and the log retains {retention.max_bytes}.")
    return size


def check_rooms(drafts: Sequence[Draft], rules: RoomRules) -> None:
    """Raises `TooLarge` if by these `rules` a room could not retain its part of `drafts` even if it were empty."""
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
