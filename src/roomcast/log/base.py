"""The capped message log: what every backend promises, and the shapes it speaks in.

Laws:
- `seq` grows by exactly one per message over the whole log. Order of `seq` is the only order.
- What `append` returned is durable: it survives kill -9 (and, where the backend says so, a power cut).
- A reader sees whole commits only, never waits for a writer, and never sees a message before it is durable.
- The oldest messages go first, and no faster than the tail: what the tail was not yet asked past is kept.
- A log knows nothing of streams, formats or HTTP. Bodies are opaque bytes.

Every method raises `LogUnavailable` where the storage does not answer; nothing is half done then.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncIterator, Sequence
from typing import Literal, NamedTuple, Protocol

from roomcast.model.message import Draft, Message
from roomcast.model.retention import Retention


class Idempotency(NamedTuple):
    """A publisher's word that two requests are one. Unique on (scope, key)."""

    key: str
    digest: bytes
    """A hash of the request; the same key with another one is refused."""
    scope: str = ""


class Appended(NamedTuple):
    """What an append stored, or had stored before."""

    messages: Sequence[Message]
    repeated: bool
    """True where the idempotency key was known and nothing was stored now."""


class Loss(NamedTuple):
    """Messages of one room after some position that are no longer retained."""

    room: str
    at_most: int
    """How many they can be; at least 1."""


class Page(NamedTuple):
    """A piece of some rooms' history, oldest first, from one moment of the log."""

    messages: Sequence[Message]
    position: int
    """Everything of these rooms up to here is in this page, was before it, or is named in `losses`."""
    losses: Sequence[Loss]
    """What was trimmed between the position asked for and the page's first message."""


class Start(NamedTuple):
    """Where a replay begins: after `position`, having lost `losses`."""

    position: int
    losses: Sequence[Loss]


class Bounds(NamedTuple):
    """How far the log reaches: it retains exactly the messages trimmed < seq <= newest."""

    trimmed: int
    newest: int
    bytes: int


class Batch(NamedTuple):
    """What the tail brings in one go: messages in order without a hole, and how far the log is trimmed now.
    `messages` is empty where only trimming went on."""

    messages: Sequence[Message]
    trimmed: int


RoomSort = Literal["name", "newest"]
"""How the rooms are listed: by code points of their names, or those with the newest message first."""
ROOMS_PAGE = 1_000
"""The most rooms that one page of them has."""


class RoomStats(NamedTuple):
    """A room that has messages retained."""

    room: str
    messages: int
    newest: int
    """The seq of its newest message."""
    newest_at: int
    """When that was stored, in ms."""


class Log(Protocol):
    """The capped message log."""

    name: str
    """As a person writes it: `sqlite:roomcast.db`."""

    @property
    def epoch(self) -> str:
        """Empty where the storage was away when the log was opened, and was not reached since."""
        ...

    @property
    def retention(self) -> Retention:
        """What is in force; a storage that is shared may have a cap of its own."""
        ...

    @property
    def unwritable(self) -> str:
        """Why the last write failed, for a person; empty where it did not."""
        ...

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> Future[Appended]:
        """Stores all of `drafts` with consecutive `seq`, or none; done when they are durable, which may be now.

        Not a coroutine: a task for each publish costs more than most of what is done in it. A known key with
        the same digest stores nothing and gives what was stored then; two appends with one key at the same
        moment store one. Fails with `KeyReused` where the digest differs, with `TooLarge` where the drafts alone
        are larger than the retention.
        """
        ...

    async def read(self, rooms: frozenset[str], after: int, limit: int, before: int | None = None) -> Page:
        """The first messages of `rooms` with after < seq < before: at most `limit`, at least one if there is
        one, and fewer where their bodies grow beyond what should be in memory at once."""
        ...

    async def get(self, seq: int) -> Message | None:
        """One message; None where it is not retained, or not there yet."""
        ...

    async def seek_newest(self, rooms: frozenset[str], count: int, before: int | None = None) -> int:
        """The position after which the newest `count` messages of `rooms` (below `before`) begin."""
        ...

    async def seek_time(self, rooms: frozenset[str], since: int) -> Start:
        """The position after which the messages stored at or after `since` (ms) begin, and what of them
        is no longer retained."""
        ...

    def tail(self, after: int) -> AsyncIterator[Batch]:
        """Everything stored after `after`, as it comes, each message once, in order. One tail at a time.

        Asking for the next batch says that the last one is delivered: only then may it be trimmed."""
        ...

    async def bounds(self) -> Bounds:
        """How far the log reaches now."""
        ...

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        """The first `limit` (1 to `ROOMS_PAGE`) of the rooms that have messages retained and whose names begin
        with `prefix`; fewer only where there are no more.

        By `name`, `after` is the name behind which they begin; by `newest`, a seq: they begin with the newest room
        whose newest message is older. A room that gets messages between two pages by `newest` moves to the front,
        and may be on neither of them. Nothing is counted for it: each page costs what it brings, and with
        a `prefix` by `newest` what is walked over."""
        ...

    async def close(self) -> None:
        """Ends the tail, waits for appends under way, lets go of the storage. Closing twice is fine."""
        ...
