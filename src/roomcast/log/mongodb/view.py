"""The log as this process has seen it: dense, in order, each document once. No I/O.

Laws:
- A document is added only if it follows the newest one by number and by nonce. All documents go through `absorb`:
  those from the cursor, from a range read and from our own acknowledged insert.
- A document that is added is passed to the consumers at once.
- If the view is complete up to N, an insert at N + 1 succeeds only if no other process wrote meanwhile, or if so
  much was written that N + 1 is trimmed already (the writer handles that). This makes each message's `prev`, the
  order of times and the idempotency keys exact without a lock.
"""

from __future__ import annotations

from typing import NamedTuple

from roomcast.log.consumers import Consumers
from roomcast.log.mongodb.documents import AppendDocument, DocumentEnds
from roomcast.log.mongodb.rooms import KnownRooms
from roomcast.log.outage import HistoryChanged


class NewestSeen(NamedTuple):
    """The newest document in the view."""

    first: int = 0
    last: int = 0
    nonce: int = 0
    """0 if there is no document, or if nothing is known of it: it is gone, or not read yet."""
    stored_at: int = 0
    bytes: int = 0
    """The sum of all bodies up to this document, from the log's beginning."""


class View:
    """All that this process has seen of the log."""

    def __init__(
        self,
        consumers: Consumers,
        rooms: KnownRooms,
        own_writes: dict[int, AppendDocument | None],
        position: int,
        timed_after: int = 0,
    ) -> None:
        """`consumers` are told of each document. `position`: the seq after which the view begins."""
        self.rooms = rooms
        self.seen = NewestSeen(position, position)
        self.trimmed = 0
        """How far the collection is trimmed."""
        self.timed_after = timed_after
        """Message times start over after this seq, because a new epoch was requested; 0 if none was."""
        self.abandoned = False
        """Whether another view has replaced this one, which then tells the consumers nothing more."""
        self.filling = False
        """Whether it is being read for the first time. Nothing of it was delivered then, so no document can
        contradict it: one may be missing in the middle, deleted by a user of the database."""
        self._own_writes = own_writes
        """By nonce, this process's writes whose outcome is not known; `absorb` adds each one that it finds."""
        self._consumers = consumers

    @property
    def retained_at(self) -> int:
        """The earliest time that a new message may have, in ms since 1970: that of the newest retained message.
        0 if no message is retained, or if message times start over."""
        return self.seen.stored_at if self.seen.last > max(self.trimmed, self.timed_after) else 0

    @property
    def newest(self) -> int:
        """The newest seq that was seen."""
        return self.seen.last

    def absorb(self, entry: AppendDocument) -> bool:
        """Adds `entry` if it is the next document, and ignores it if it was already seen. Returns False if
        something is missing before it. Raises `HistoryChanged` if it belongs to another history, unless the view
        is `filling`."""
        seen = self.seen
        if entry.last <= seen.last:
            self._compare(entry)
            return True
        if entry.first != seen.last + 1:
            return False
        if seen.nonce and entry.previous_nonce and entry.previous_nonce != seen.nonce and not self.filling:
            raise HistoryChanged
        self._add(entry)
        return True

    def skip_to(self, entry: AppendDocument) -> None:
        """Adds `entry` although something is missing before it. Only while the view is `filling`."""
        self.rooms.note_hole(entry.first - 1)
        self._add(entry)

    def jump(self, oldest: DocumentEnds) -> None:
        """Continues at the document `oldest`: everything before it is trimmed, and some of that was never seen."""
        trimmed = oldest.first - 1
        self.seen = self.seen._replace(first=trimmed, last=trimmed, nonce=0)
        self.rooms.forget_all(trimmed, oldest.stored_at)
        self.trim(trimmed)

    def trim(self, trimmed: int) -> None:
        """Notes that the collection is trimmed up to the seq `trimmed`, and tells the consumers if that is
        news."""
        if trimmed > self.trimmed:
            self.trimmed = trimmed
            self.rooms.forget(trimmed)
            if not self.abandoned:
                self._consumers.push((), trimmed)

    def _compare(self, entry: AppendDocument) -> None:
        """Compares a document whose seq was already seen with the newest one. Raises `HistoryChanged`, unless the
        view is `filling`."""
        if entry.last == self.seen.last and not self.seen.nonce:
            self.seen = _seen(entry)
        if entry.first == self.seen.first and entry.nonce != self.seen.nonce and not self.filling:
            raise HistoryChanged

    def _add(self, entry: AppendDocument) -> None:
        self.seen = _seen(entry)
        self.rooms.note(entry)
        if entry.nonce in self._own_writes:
            self._own_writes[entry.nonce] = entry
        if not self.abandoned:
            self._consumers.push(entry.messages, self.trimmed)


def _seen(entry: AppendDocument) -> NewestSeen:
    return NewestSeen(entry.first, entry.last, entry.nonce, entry.stored_at, entry.bytes_before + entry.size)
