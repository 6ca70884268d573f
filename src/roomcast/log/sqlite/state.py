"""The log as a whole: the one row of the table `state`, and flags for what makes work more expensive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from roomcast.model.message import Message
from roomcast.model.retention import Retention


class LogState(NamedTuple):
    """For each retained message, trimmed < seq <= newest. Times are in ms since 1970."""

    newest: int
    newest_at: int
    trimmed: int
    bytes: int
    """The sum of the retained bodies."""
    forgotten: int
    """A room that is not remembered had no message after this seq."""
    forgotten_at: int
    messages: int
    """How many are retained, including single deleted ones that are not trimmed yet."""
    deletions: int
    """How many single messages were ever deleted."""

    @property
    def retained_at(self) -> int:
        """When the newest message was stored, even if that one is gone; 0 if none is retained."""
        return self.newest_at if self.messages else 0

    @property
    def dense(self) -> bool:
        """Whether there are no holes: every message from the oldest retained one on is retained."""
        return self.messages == self.newest - self.trimmed

    def is_over(self, retention: Retention) -> bool:
        """Whether there is more than the caps of the whole log in `retention` allow."""
        return self.messages > retention.max_messages or self.bytes > retention.max_bytes

    def grown(self, messages: Sequence[Message]) -> LogState:
        """The log with these messages added; there must be at least one."""
        _, _, trimmed, size, forgotten, forgotten_at, count, deletions = self
        for message in messages:
            size += len(message.body)
        count += len(messages)
        return LogState(message.seq, message.stored_at, trimmed, size, forgotten, forgotten_at, count, deletions)


class ContentFlags:
    """Flags for content that makes reading and trimming more expensive. While one is not set, that work is
    skipped. The writer's thread sets them, and clears only `purging`. The reader's thread sees a change at its
    next read."""

    __slots__ = ("deleted", "keyed", "purging")

    def __init__(self, *, deleted: bool = False, purging: bool = False, keyed: bool = False) -> None:
        self.deleted = deleted
        """Whether single messages may have been deleted."""
        self.purging = purging
        """Whether deleted rooms may have rows left."""
        self.keyed = keyed
        """Whether there may be idempotency keys whose first message is retained."""

    @property
    def any_deleted(self) -> bool:
        """Whether the log may have rows of messages that were deleted, alone or with their room."""
        return self.deleted or self.purging
