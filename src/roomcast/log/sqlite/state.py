"""The log as a whole, as the one row of the table `state` has it."""

from __future__ import annotations

from typing import NamedTuple

from roomcast.model.retention import Retention


class State(NamedTuple):
    """It retains exactly the messages trimmed < seq <= newest."""

    newest: int
    newest_at: int
    trimmed: int
    bytes: int
    """The sum of the retained bodies."""
    forgotten: int
    """No message of a room that is not remembered was newer."""
    forgotten_at: int

    @property
    def retained_at(self) -> int:
        """When the newest retained message was stored; 0 where none is retained."""
        return self.newest_at if self.newest > self.trimmed else 0

    def over(self, retention: Retention) -> bool:
        """Whether there is anything to trim."""
        return self.newest - self.trimmed > retention.max_messages or self.bytes > retention.max_bytes
