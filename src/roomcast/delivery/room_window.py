"""One room's part of the window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from roomcast.delivery.audience import Audience
from roomcast.delivery.piece import ENTRY_BYTES, Entry
from roomcast.model.message import Message

_EVICTED = Entry(Message(0, "", None, 0, 0, b""))
"""Placeholder for evicted entries. A room's list is compacted once more than 32 of its entries, and more than an
eighth of them, are dead. Keeping their bodies until then would exceed the window when there are many rooms."""


class RoomWindow:
    """The messages of one room, oldest first. Those before the index `start` are evicted."""

    __slots__ = ("audiences", "entries", "floor", "named", "removed", "seqs", "start")

    def __init__(self, floor: int) -> None:
        self.floor = floor
        """The window has every message of this room above this seq, and none was lost there."""
        self.removed = 0
        """How many messages `cut` removed before the window evicted them. The window's order still has a place for
        each of them; these are the oldest places of the room."""
        self.seqs: list[int] = []
        self.entries: list[Entry] = []
        self.start = 0
        self.audiences: dict[Audience, None] = {}
        """Audiences that get this room's messages. A dictionary, since thousands may join and leave one by one."""
        self.named = 0
        """How many of these audiences follow the room by its name. Only these keep an empty room known."""

    def add(self, entry: Entry) -> None:
        """Appends `entry`, whose message is the room's newest."""
        self.seqs.append(entry.message.seq)
        self.entries.append(entry)

    def after(self, seq: int) -> Iterator[Entry]:
        """The entries with a higher seq, in order."""
        first = bisect_right(self.seqs, seq, self.start)
        return (self.entries[i] for i in range(first, len(self.entries)))

    def newest(self, count: int) -> Sequence[int]:
        """The seqs of the newest `count` messages, or of all if there are fewer."""
        return self.seqs[max(self.start, len(self.seqs) - count) :]

    def evict(self) -> Entry:
        """Removes the oldest message and returns it."""
        entry, self.entries[self.start] = self.entries[self.start], _EVICTED
        self.floor = entry.message.seq
        self.start += 1
        if self.start == len(self.entries) or (self.start > 32 and self.start * 8 > len(self.entries)):
            del self.seqs[: self.start], self.entries[: self.start]
            self.start = 0
        return entry

    def cut(self, upto: int) -> int:
        """Removes all messages up to the seq `upto`, so that they are looked for in the log. Returns their bytes
        in the window."""
        size = 0
        while self.start < len(self.seqs) and self.seqs[self.start] <= upto:
            size += size_of(self.evict().message)
            self.removed += 1
        self.floor = max(self.floor, upto)
        return size

    @property
    def idle(self) -> bool:
        """Whether the room has no messages here, and nobody follows it by its name."""
        return not self.entries and not self.named


def size_of(message: Message) -> int:
    """Bytes that a message takes in the window: its body, a frame of about the same size, and the entry."""
    return 2 * len(message.body) + ENTRY_BYTES
