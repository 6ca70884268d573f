"""The log as a whole, as the one row of the table `state` has it."""

from __future__ import annotations

from typing import NamedTuple

from roomcast.model.retention import Retention


class State(NamedTuple):
    """What it retains lies within trimmed < seq <= newest."""

    newest: int
    newest_at: int
    trimmed: int
    bytes: int
    """The sum of the retained bodies."""
    forgotten: int
    """No message of a room that is not remembered was newer."""
    forgotten_at: int
    messages: int
    """How many are retained."""
    deletions: int
    """How many single messages were ever deleted."""

    @property
    def retained_at(self) -> int:
        """When the newest retained message was stored; 0 where none is retained."""
        return self.newest_at if self.messages else 0

    @property
    def dense(self) -> bool:
        """Whether it retains all from its oldest message on."""
        return self.messages == self.newest - self.trimmed

    def over(self, retention: Retention) -> bool:
        """Whether there is more than the caps of the whole log leave it."""
        return self.messages > retention.max_messages or self.bytes > retention.max_bytes


class Holes:
    """What makes reading and trimming dearer, and is looked at where there is any."""

    __slots__ = ("deleted", "keyed", "purging")

    def __init__(self, *, deleted: bool = False, purging: bool = False, keyed: bool = False) -> None:
        self.deleted = deleted
        """Whether single messages may have been deleted."""
        self.purging = purging
        """Whether rooms that were deleted may have rows left."""
        self.keyed = keyed
        """Whether there may be idempotency keys."""

    def __bool__(self) -> bool:
        return self.deleted or self.purging
