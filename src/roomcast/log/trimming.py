"""What a reader has lost: from what is known of each room's trimming, the same on every backend.

In each room the oldest messages go first, so all that a room lost lies before all that it has; but for single
messages that were deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from roomcast.log.base import Loss

_ALL = 2**63 - 1


class Trimmed(NamedTuple):
    """How far a room is trimmed."""

    seq: int
    """Its last message that is gone; 0 where there is none."""
    at: int
    """When that one was stored, in ms."""
    lost: int
    """How many are gone, at most."""
    capped: int = _ALL
    """Its last message that a cap took: what went behind it was deleted."""


def watermark(seq: int, at: int) -> Trimmed:
    """What must be taken for the trimming of a room the log does not know, having forgotten rooms up to `seq`.

    Nothing is known of it but that, so an alarm may be false here; silence never is.
    """
    return Trimmed(seq, at, seq)


def losses_between(
    rooms: Iterable[str], known: Mapping[str, Trimmed], unknown: Trimmed, after: int, before: int | None
) -> list[Loss]:
    """What is lost of the messages with after < seq < before, but for single ones that were deleted."""
    losses = []
    for room in rooms:
        trimmed = known.get(room, unknown)
        last = trimmed.seq if before is None else min(trimmed.seq, before - 1)
        if last > after:
            losses.append(Loss(room, last, trimmed.lost, min(trimmed.capped, trimmed.seq)))
    return sorted(losses, key=in_order)


def in_order(loss: Loss) -> tuple[int, str]:
    """Losses are told in the order of their last message."""
    return loss.last, loss.room


def position_before(rooms: Iterable[str], known: Mapping[str, Trimmed], unknown: Trimmed, since: int) -> int:
    """The last message of these rooms that is gone and was stored before `since` (ms); 0 where there is none."""
    trimmings = (known.get(room, unknown) for room in rooms)
    return max((trimmed.seq for trimmed in trimmings if trimmed.at < since), default=0)
