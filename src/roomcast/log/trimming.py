"""What a reader has lost: from what is known of each room's trimming, the same on every backend.

Trimming takes the oldest messages of the whole log, so all that a room lost lies before all that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from roomcast.log.base import Loss


class Trimmed(NamedTuple):
    """How far a room is trimmed."""

    seq: int
    """Its last trimmed message; 0 where there is none."""
    at: int
    """When that one was stored, in ms."""
    lost: int
    """How many were ever trimmed, at most."""


def watermark(seq: int, at: int) -> Trimmed:
    """What must be taken for the trimming of a room the log does not know, having forgotten rooms up to `seq`.

    Nothing is known of it but that, so an alarm may be false here; silence never is.
    """
    return Trimmed(seq, at, seq)


def losses_between(
    rooms: Iterable[str], known: Mapping[str, Trimmed], unknown: Trimmed, after: int, before: int | None
) -> list[Loss]:
    """What is lost of the messages with after < seq < before."""
    losses = []
    for room in sorted(rooms):
        trimmed = known.get(room, unknown)
        reach = trimmed.seq if before is None else min(trimmed.seq, before - 1)
        if reach > after:
            losses.append(Loss(room, min(trimmed.lost, reach - after)))
    return losses


def losses_since(rooms: Iterable[str], known: Mapping[str, Trimmed], unknown: Trimmed, since: int) -> list[Loss]:
    """What is lost of the messages stored at or after `since` (ms)."""
    trimmings = ((room, known.get(room, unknown)) for room in sorted(rooms))
    return [Loss(room, trimmed.lost) for room, trimmed in trimmings if trimmed.seq and trimmed.at >= since]
