"""The capped message log: what every backend promises, and the shapes it speaks in.

Laws:
- `seq` grows by exactly one per message over the whole log. Order of `seq` is the only order.
- What `append` returned is durable: it survives kill -9 (and, where the backend says so, a power cut).
- A reader sees whole commits only, never waits for a writer, and never sees a message before it is durable.
- In each room the oldest messages go first: what is retained of it is all from some message on. Over the whole log
  there may be holes. A message that was deleted leaves an empty row in its place until it is trimmed.
- Trimming waits for those who consume the log and ask for that: what they were not asked past is kept.
- A log knows nothing of streams, formats or HTTP. Bodies are opaque bytes.

Every method raises `LogUnavailable` if the storage does not answer; nothing is then half done. An append may also
fail with `OutcomeUnknown` if the storage is another process, which has ended meanwhile.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from roomcast.model.message import Cut, Draft, Message
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection


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
    """Messages of one room after some position that are no longer there. They are one run of the room's messages,
    and all that is retained after the position comes behind it; or it is one that was deleted between others."""

    room: str
    """Empty: any room that is followed by prefix, and that the log does not know any more."""
    last: int
    """The seq of the last one: whoever passes it must have been told."""
    ever: int
    """How many the room ever lost up to there, at most; exact while the log remembers the room."""
    after: int = 0
    """Behind this seq all that was lost was deleted."""
    number: int = 0
    """For one that was deleted between others: the number of its deletion, from 1. 0: it is the run."""
    passed: int = 0
    """Lower bound of how many of `ever` came up to the given position; exact while the log lists the room's
    messages from there on."""


class Page(NamedTuple):
    """A piece of some rooms' history, oldest first, from one moment of the log."""

    messages: Sequence[Message]
    position: int
    """Everything of these rooms up to here is in this page, was before it, or is named in `losses`."""
    losses: Sequence[Loss]
    """What is missing after the position asked for, in order of `last`; also what is missing behind this page."""
    oldest: int = 0
    """Where there are losses: the seq of the oldest message retained of these rooms; where there is none, one
    behind the newest of the log."""
    deletions: int = 0
    """How many single messages were ever deleted."""


class Bounds(NamedTuple):
    """How far the log reaches: what it retains lies within trimmed < seq <= newest."""

    trimmed: int
    newest: int
    bytes: int
    messages: int
    """How many are retained, those that were deleted and not yet trimmed among them."""
    oldest_at: int
    """When the oldest of them was stored, in ms; 0 where there is none."""


class Batch(NamedTuple):
    """What a consumer is given in one go: messages in order, and what is gone since. `messages` is empty where
    only trimming went on."""

    messages: Sequence[Message]
    trimmed: int
    """How far the whole log is trimmed now."""
    position: int = 0
    """Everything up to here was given, or is gone."""
    cuts: Sequence[Cut] = ()
    """What else is gone."""
    missed: int = 0
    """How many messages up to `position` were not given to this consumer, as they were trimmed or deleted before.
    0 for one that holds back trimming and does not stand still, but for what was gone before it began."""


class Consuming(Protocol):
    """A place in the log from which it is followed."""

    name: str

    def __aiter__(self) -> AsyncIterator[Batch]: ...

    async def __anext__(self) -> Batch:
        """What came since, or what comes next. Raises `LogRestarted` where the log has another history now."""
        ...

    async def aclose(self) -> None:
        """Ends it, and lets go of what it held back."""
        ...


RoomSort = Literal["name", "newest"]
"""How the rooms are listed: by code points of their names, or those with the newest message first."""
ROOMS_PAGE = 1_000
"""The most rooms that one page of them has."""
PAGE_BYTES = 256 * 1024
"""A page of messages ends with the message whose body brings it to this many bytes."""


class RoomStats(NamedTuple):
    """A room that has messages retained."""

    room: str
    messages: int
    newest: int
    """The seq of its newest message."""
    newest_at: int
    """When that was stored, in ms."""
    oldest_at: int = 0
    """When its oldest was stored, in ms; told only by a log that has rules for rooms."""


@runtime_checkable
class HasOutbox(Protocol):
    """Extra counters of a log that can be published to inside a transaction of its database."""

    @property
    def outbox_moved(self) -> int:
        """How many messages this process has moved from the outbox to the log."""
        ...

    @property
    def outbox_refused(self) -> int:
        """How many it could not move."""
        ...


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

    async def read(self, selection: Selection, after: int, limit: int, before: int | None = None) -> Page:
        """The first messages of some rooms with after < seq < before: at most `limit`, at least one if there is
        one, and fewer where their bodies grow beyond what should be in memory at once."""
        ...

    async def get(self, seq: int) -> Message | None:
        """One message; None where it is not retained, or not there yet."""
        ...

    async def seek_newest(self, selection: Selection, count: int, before: int | None = None) -> int:
        """The position after which the newest `count` messages of these rooms (below `before`) begin."""
        ...

    async def seek_time(self, selection: Selection, since: int) -> int:
        """The position after which the messages of these rooms begin that were stored at or after `since` (ms): a
        page after it also tells what of them is no longer retained."""
        ...

    def consumer(self, name: str, after: int, *, holds: bool = True) -> Consuming:
        """Everything stored after `after`, as it comes, each message once, in order. There may be any number of
        consumers, each with a position of its own; it lives in this process, and `name` is for metrics.

        Asking for the next batch says that the last one is delivered: only then may it be trimmed, unless the
        consumer stands still for 5 s. One that does not hold (`holds`) is told what it `missed` instead."""
        ...

    def positions(self) -> Mapping[str, int]:
        """The last message that each consumer of this process was asked past, by its name; bounded."""
        ...

    async def delete(self, seq: int) -> bool:
        """Deletes one message, durably; False where it is not retained. Raises `NotOffered`."""
        ...

    async def delete_room(self, room: str) -> None:
        """Deletes all messages of a room that are stored now, durably. Raises `NotOffered`."""
        ...

    async def revoke(self, revocation: Revocation) -> None:
        """Keeps a revocation durably for `KEPT_MS` after its `before`; of two for the same `sub` and `iss` the
        later one. Raises `TooManyRevocations` if `MOST` are kept: none is ever dropped for another."""
        ...

    async def revocations(self) -> Sequence[Revocation]:
        """All revocations, including those of other processes on the same storage, in no order. Polled every
        second: returns the same object as long as nothing has changed."""
        ...

    def keep(self, retention: Retention) -> Callable[[], None]:
        """Other rules for rooms and another age, from when the result is called on the loop; they are reached in
        steps. The caps of the whole log stay. Raises `NotOffered`; what it gives does not fail."""
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
        """Ends all consumers, waits for appends under way, lets go of the storage. Closing twice is fine."""
        ...
