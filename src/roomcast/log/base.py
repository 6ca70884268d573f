"""The capped message log: the promises that every backend keeps, and the types that they share.

Laws:
- `seq` grows by exactly one per message over the whole log. The order of `seq` is the only order.
- An append is durable once it has returned: it survives kill -9 (and, where the backend says so, a power cut).
- A reader sees whole commits only, never waits for a writer, and never sees a message before it is durable.
- In each room the oldest messages are removed first, so a room retains every message from some point on. The log
  as a whole may have holes. A deleted message leaves an empty row until it is trimmed.
- Trimming waits for consumers: no message is trimmed before each consumer that keeps moving has delivered it (not
  in MongoDB, where the collection trims itself).
- A log knows nothing of streams, formats or HTTP. Bodies are opaque bytes.

Every method raises `LogUnavailable` if the storage does not answer; nothing is then half done. An append that
was sent may be stored all the same. It then fails with `LogUnavailable` if the storage is a database, and with
`OutcomeUnknown` if it is the log process.
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
    """A publisher's statement that two requests are the same. The pair (scope, key) is unique."""

    key: str
    digest: bytes
    """A hash of the request; the same key with another request is refused."""
    scope: str = ""


class Appended(NamedTuple):
    """The messages that an append stored, now or earlier."""

    messages: Sequence[Message]
    repeated: bool
    """True if the idempotency key was known: nothing was stored now."""


class Loss(NamedTuple):
    """Messages of one room, after a reader's position, that are gone: a run or a single message. All messages that
    the room retains after the position are newer than a run. A single message was deleted between others."""

    room: str
    """Empty if it stands for all rooms that are followed by prefix and that the log no longer knows."""
    last: int
    """The seq of the last of these messages. A reader whose position passes it must be told."""
    ever: int
    """For a run: an upper bound for all messages that the room ever lost up to `last`; exact while the log
    remembers the room, unless the read's `before` cut the run. For a single message: 1."""
    after: int = 0
    """All messages lost after this seq were deleted, not trimmed."""
    number: int = 0
    """The number of the deletion, counted from 1, if this is a single deleted message; 0 for a run."""
    passed: int = 0
    """A lower bound for how many of `ever` lie at or before the reader's position; exact while the log lists the
    room's messages from there on."""


class Page(NamedTuple):
    """A part of some rooms' history, oldest first, from one moment of the log."""

    messages: Sequence[Message]
    position: int
    """The seq up to which the page is complete: each message of these rooms is in it, came before it, or is named
    in `losses`."""
    losses: Sequence[Loss]
    """All losses after the position asked for, in order of `last`: all runs, including those after this page, and
    at least those single messages that come before the page's end."""
    oldest: int = 0
    """Set if there are losses: the seq of the oldest retained message of these rooms. If these rooms retain none,
    the log's newest seq plus one. In MongoDB a lower bound for either."""
    deletions: int = 0
    """How many single messages were ever deleted from the log."""


class Bounds(NamedTuple):
    """How far the log reaches: for each retained message, trimmed < seq <= newest."""

    trimmed: int
    newest: int
    bytes: int
    """The sum of the retained bodies."""
    messages: int
    """How many are retained, including those that were deleted and are not trimmed yet."""
    oldest_at: int
    """When the oldest of them was stored, in ms since 1970; 0 if there is none."""


class Batch(NamedTuple):
    """The news for one consumer. `messages` is empty if there was only trimming."""

    messages: Sequence[Message]
    """In order of `seq`."""
    trimmed: int
    """How far the whole log is trimmed now."""
    position: int = 0
    """Everything up to this seq was given to the consumer, or is gone."""
    cuts: Sequence[Cut] = ()
    """The cuts by rules and deletes since the last batch, at most one for each room."""
    missed: int = 0
    """How many messages between the last batch's `position` and this one's the consumer never got, because they
    were trimmed or deleted first. If trimming waits for the consumer, these were deleted, or were gone before it
    began."""


class LogConsumer(Protocol):
    """A place in the log, and the batches that come after it."""

    name: str

    def __aiter__(self) -> AsyncIterator[Batch]: ...

    async def __anext__(self) -> Batch:
        """The next batch; waits until there is one. Raises `LogRestarted` if the log has another history now."""
        ...

    async def aclose(self) -> None:
        """Ends the consumer; it no longer holds back trimming."""
        ...


RoomSort = Literal["name", "newest"]
"""The order of a list of rooms: by the code points of their names, or the room with the newest message first."""
ROOMS_PAGE = 1_000
"""The most rooms in one page of the list."""
PAGE_BYTES = 256 * 1024
"""A page of messages ends with the message whose body brings it to this many bytes."""


class RoomStats(NamedTuple):
    """A room that retains messages."""

    room: str
    messages: int
    newest: int
    """The seq of its newest message."""
    newest_at: int
    """When that was stored, in ms since 1970."""
    oldest_at: int = 0
    """When its oldest was stored, in ms since 1970; 0 unless the log has rules for rooms."""


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
    """Its URL without credentials, such as `sqlite:roomcast.db`."""

    @property
    def epoch(self) -> str:
        """The epoch of all ids. Empty until the storage is reached, if it could not be reached at the start."""
        ...

    @property
    def retention(self) -> Retention:
        """The caps in force; a shared storage may have its own."""
        ...

    @property
    def unwritable(self) -> str:
        """Why the last write failed, as a sentence; empty if it did not."""
        ...

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> Future[Appended]:
        """Stores all of `drafts` with consecutive `seq`, or none of them. The future is done when they are
        durable, which may be at once.

        Not a coroutine: a task for each publish would cost more than most of the work. If the key of `idempotency`
        is known and has the same digest, nothing is stored, and the result is the earlier one. Of two simultaneous
        appends with one key, one is stored. Fails with `KeyReused` if the digest differs, and with `TooLarge` if
        the drafts alone exceed the retention."""
        ...

    async def read(self, selection: Selection, after: int, limit: int, before: int | None = None) -> Page:
        """The first messages of the rooms of `selection` with `after` < seq < `before`: at most `limit`, at least
        one if there is one, and fewer once their bodies reach `PAGE_BYTES`."""
        ...

    async def get(self, seq: int) -> Message | None:
        """The message with this `seq`; None if it is not retained, or not stored yet."""
        ...

    async def seek_newest(self, selection: Selection, count: int, before: int | None = None) -> int:
        """The position after which the newest `count` messages of the rooms of `selection` (below the seq
        `before`) begin."""
        ...

    async def seek_time(self, selection: Selection, since: int) -> int:
        """The position after which those messages of the rooms of `selection` begin that were stored at or after
        `since` (ms since 1970). A page read from there also tells which of them are no longer retained."""
        ...

    def consumer(self, name: str, after: int) -> LogConsumer:
        """Everything stored after the seq `after`, as it arrives: each message once, in order. There may be any
        number of consumers, each with a position of its own. A consumer lives in this process; `name` is for
        metrics.

        A request for the next batch confirms that the last was delivered. Only then may its messages be trimmed,
        unless the consumer stands still for 5 s. The batch after that tells how many messages it `missed`."""
        ...

    def positions(self) -> Mapping[str, int]:
        """The last delivered seq of each consumer of this process, by its name."""
        ...

    async def delete(self, seq: int) -> bool:
        """Deletes the message with this `seq`, durably; False if it is not retained. Raises `NotOffered`."""
        ...

    async def delete_room(self, room: str) -> None:
        """Deletes all messages that `room` has now, durably. Raises `NotOffered`."""
        ...

    async def revoke(self, revocation: Revocation) -> None:
        """Keeps a revocation durably for `KEPT_MS` after its `before`. Of two for one `sub` and `iss`, it keeps
        the later one. Raises `TooManyRevocations` if `MAX_REVOCATIONS` are kept: none is ever dropped to make
        room."""
        ...

    async def revocations(self) -> Sequence[Revocation]:
        """All revocations, including those of other processes on the same storage, in no order. Polled every
        second: returns the same object as long as nothing has changed."""
        ...

    def prepare_rules(self, retention: Retention) -> Callable[[], None]:
        """Checks the rules for rooms and the age of a new `retention`; its caps of the whole log are ignored.
        Returns a function that applies them, to be called on the loop. That function does not fail, and trims in
        steps. Raises `NotOffered`."""
        ...

    async def bounds(self) -> Bounds:
        """How far the log reaches now."""
        ...

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        """The first `limit` (1 to `ROOMS_PAGE`) rooms that retain messages and whose names begin with `prefix`;
        fewer only if there are no more.

        With `sort` by `name`, the page begins after the name `after`; by `newest`, with the first room whose
        newest message is older than the seq `after`. A room that gets a message between two pages by `newest`
        moves to the front, and may be on neither page. The cost of a page grows with the rooms that it returns. By
        `newest`, it also grows with the rooms without the `prefix` that are skipped. A backend that lists its
        rooms in memory finds `after` in a copy of the list: now and then a page makes a new copy, and each page
        skips the rooms that have changed since."""
        ...

    async def close(self) -> None:
        """Ends all consumers, waits for appends under way, and releases the storage. Closing twice is allowed."""
        ...
