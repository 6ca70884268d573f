"""Where a stream starts, and what it must tell of messages that are no longer there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from roomcast.log.base import Loss
from roomcast.model import shapes
from roomcast.model.json_text import one_line
from roomcast.model.message import MessageId


class Gap(NamedTuple):
    """What a stream must tell before its next message."""

    after: str | None
    rooms: Sequence[str]
    lost_at_most: int | None
    reason: str

    def data(self, resumes_at: MessageId | None) -> bytes:
        """The gap as its reader sees it."""
        next_id = None if resumes_at is None else str(resumes_at)
        told = shapes.Gap(self.after, next_id, tuple(self.rooms), self.lost_at_most, self.reason)
        return one_line(msgspec.json.encode(told))


def widened(gap: Gap | None, after: str | None, losses: Sequence[Loss]) -> Gap | None:
    """The gap with what was trimmed added to it; None where nothing is missing."""
    if not losses:
        return gap
    rooms = {loss.room for loss in losses}
    lost = sum(loss.at_most for loss in losses)
    if gap is None:
        return Gap(after, sorted(rooms), lost, "trimmed")
    known = None if gap.lost_at_most is None else gap.lost_at_most + lost
    return gap._replace(rooms=sorted(rooms.union(gap.rooms)), lost_at_most=known)


class Opening(NamedTuple):
    """Where a stream starts."""

    position: int
    gap: Gap | None = None
    exact: bool = True
    """Whether messages trimmed right after `position` must be reported as a gap (true for a resume, false for
    `replay=all`)."""
    epoch: str | None = None
    """The history that `position` counts in; None where the stream begins in the turn in which it was found."""
