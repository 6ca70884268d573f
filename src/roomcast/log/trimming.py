"""What a reader has lost: from what is known of each room's trimming, the same on every backend.

In each room the oldest messages go first, so all that a room lost lies before all that it has; but for single
messages that were deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from roomcast.log.base import Loss
from roomcast.model.rooms import Selection

EMPTY_ROOMS = 10_000
"""How many rooms without messages a log remembers, so that their followers hear no false alarm."""
_ALL = 2**63 - 1
Between = Callable[[str, int, int], int]
"""Upper bound of a room's messages after one seq and up to another."""


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
    selection: Selection,
    known: Mapping[str, Trimmed],
    unknown: Trimmed,
    after: int,
    before: int | None,
    between: Between,
) -> list[Loss]:
    """What is lost of the messages with after < seq < before, but for single ones that were deleted. `known` has
    each room that is known of those followed by name, and by prefix those that may have lost any."""
    losses = []
    for room, trimmed in _each(selection, known, unknown):
        last = trimmed.seq if before is None else min(trimmed.seq, before - 1)
        if last > after:
            passed = max(0, trimmed.lost - between(room, after, trimmed.seq)) if room in known else 0
            losses.append(Loss(room, last, trimmed.lost, min(trimmed.capped, trimmed.seq), passed=passed))
    return sorted(losses, key=in_order)


def in_order(loss: Loss) -> tuple[int, str]:
    """Losses are told in the order of their last message."""
    return loss.last, loss.room


def _each(selection: Selection, known: Mapping[str, Trimmed], unknown: Trimmed) -> Iterable[tuple[str, Trimmed]]:
    """All rooms of a selection, as they are trimmed; without a name those that the log does not know."""
    if not selection.prefixes:
        return [(room, known.get(room, unknown)) for room in selection.rooms]
    return {**dict.fromkeys(selection.rooms, unknown), "": unknown, **known}.items()


def position_before(selection: Selection, known: Mapping[str, Trimmed], unknown: Trimmed, since: int) -> int:
    """The last message of these rooms that is gone and was stored before `since` (ms); 0 where there is none."""
    trimmings = (trimmed for _, trimmed in _each(selection, known, unknown))
    return max((trimmed.seq for trimmed in trimmings if trimmed.at < since), default=0)
