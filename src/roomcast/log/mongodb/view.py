"""The log as this process has seen it: dense, in order, each document once. No I/O.

Laws:
- Only what goes on from the newest document by number and by nonce is taken in. What came from the cursor, from
  a read by range or from our own acknowledged insert goes through `absorb`.
- What is taken in feeds the tail at once.
- With the view complete up to N, an insert at N + 1 succeeds only where nobody else wrote meanwhile, or so much
  that it is trimmed (the writer ensures that): that makes each message's `prev`, the order of times and the
  idempotency keys exact without a lock.
"""

from __future__ import annotations

from typing import NamedTuple

from roomcast.log.consumers import Consumers
from roomcast.log.mongodb.documents import Entry, Mark
from roomcast.log.mongodb.rooms import Rooms


class Seen(NamedTuple):
    """The newest document that was taken in."""

    first: int = 0
    last: int = 0
    nonce: int = 0
    """0 where there is none, or where it is gone and nothing is known of it."""
    stored_at: int = 0
    bytes: int = 0
    """The sum of all bodies up to here, from the log's beginning."""


class Fork(Exception):
    """The collection has another history than the one we read: something that was delivered is gone."""


class View:
    """Where this process stands."""

    def __init__(
        self, feed: Consumers, rooms: Rooms, mine: dict[int, Entry | None], position: int, timed_after: int = 0
    ) -> None:
        self.rooms = rooms
        self.seen = Seen(position, position)
        self.trimmed = 0
        """How far the collection is trimmed."""
        self.timed_after = timed_after
        """Times began anew after this message: somebody asked for a new epoch then."""
        self.abandoned = False
        """Whether another view has taken its place."""
        self._mine = mine
        """By nonce, the writes whose fate is not known; filled in with what is found in the log."""
        self._feed = feed

    @property
    def retained_at(self) -> int:
        """When the newest retained message was stored, as times go; 0 where they begin anew."""
        return self.seen.stored_at if self.seen.last > max(self.trimmed, self.timed_after) else 0

    @property
    def newest(self) -> int:
        return self.seen.last

    def absorb(self, entry: Entry) -> bool:
        """Takes in the next document, and leaves one that was seen; False where something is missing before it.
        Raises `Fork`."""
        seen = self.seen
        if entry.last <= seen.last:
            self._recognise(entry)
            return True
        if entry.first != seen.last + 1:
            return False
        if seen.nonce and entry.after and entry.after != seen.nonce:
            raise Fork
        self._take(entry)
        return True

    def jump(self, oldest: Mark) -> None:
        """All before `oldest` is gone, and we have not seen it."""
        trimmed = oldest.first - 1
        self.seen = self.seen._replace(first=trimmed, last=trimmed, nonce=0)
        self.rooms.lose(trimmed, oldest.stored_at)
        self.trim(trimmed)

    def trim(self, trimmed: int) -> None:
        """The collection is trimmed this far now."""
        if trimmed > self.trimmed:
            self.trimmed = trimmed
            self.rooms.forget(trimmed)
            if not self.abandoned:
                self._feed.push((), trimmed)

    def _recognise(self, entry: Entry) -> None:
        """The newest that was seen is met again: it is the same, or becomes known."""
        if entry.last == self.seen.last and not self.seen.nonce:
            self.seen = _seen(entry)
        if entry.first == self.seen.first and entry.nonce != self.seen.nonce:
            raise Fork

    def _take(self, entry: Entry) -> None:
        self.seen = _seen(entry)
        self.rooms.note(entry)
        if entry.nonce in self._mine:
            self._mine[entry.nonce] = entry
        if not self.abandoned:
            self._feed.push(entry.messages, self.trimmed)


def _seen(entry: Entry) -> Seen:
    return Seen(entry.first, entry.last, entry.nonce, entry.stored_at, entry.bytes_before + entry.size)
