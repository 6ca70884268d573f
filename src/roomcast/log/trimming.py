"""Finds which messages a reader has lost, from how far each room is trimmed. The same on every backend.

In each room the oldest messages are removed first. So all messages that a room lost are older than all that it
has, except for single messages that were deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from roomcast.log.base import Loss
from roomcast.model.rooms import Selection

EMPTY_ROOMS = 10_000
"""How many rooms without messages a log remembers, so that their followers get no false alarm."""
_ALL = 2**63 - 1
CountBetween = Callable[[str, int, int], int]
"""Called with a room, a seq and a later seq. Returns an upper bound for how many messages the room had after the
first and up to the second."""


class Trimming(NamedTuple):
    """How far a room is trimmed."""

    seq: int
    """The last message that is gone; 0 if there is none."""
    at: int
    """When that one was stored, in ms since 1970."""
    lost: int
    """An upper bound for how many are gone."""
    capped: int = _ALL
    """The last message that a cap removed: later ones that are gone were deleted."""


def watermark(seq: int, at: int) -> Trimming:
    """The trimming to assume for a room that the log does not know, if it has forgotten rooms. `seq` and `at`: the
    seq and the time (ms since 1970) of the newest message of those.

    A false alarm is possible here; a silent loss is not.
    """
    return Trimming(seq, at, seq)


def losses_between(
    selection: Selection,
    known: Mapping[str, Trimming],
    unknown: Trimming,
    after: int,
    before: int | None,
    between: CountBetween,
) -> list[Loss]:
    """The losses of a reader of `selection` among the messages with `after` < seq < `before`, in order of their
    last message; except single messages that were deleted.

    `known`: the trimming of each room that the log knows and that is followed by name. Of the rooms followed by
    prefix, it may leave out those that have lost no messages. `unknown`: the trimming to assume for all other
    rooms. `between` counts the messages of a known room."""
    losses = []
    for room, trimmed in _each(selection, known, unknown):
        last = trimmed.seq if before is None else min(trimmed.seq, before - 1)
        if last > after:
            passed = max(0, trimmed.lost - between(room, after, trimmed.seq)) if room in known else 0
            losses.append(Loss(room, last, trimmed.lost, min(trimmed.capped, trimmed.seq), passed=passed))
    return sorted(losses, key=in_order)


def in_order(loss: Loss) -> tuple[int, str]:
    """The sort key of `loss` in a list: by its last message."""
    return loss.last, loss.room


def _each(
    selection: Selection, known: Mapping[str, Trimming], unknown: Trimming
) -> Iterable[tuple[str, Trimming]]:
    """All rooms of a selection with their trimming. An empty name stands for rooms that the log does not know."""
    if not selection.prefixes:
        return [(room, known.get(room, unknown)) for room in selection.rooms]
    return {**dict.fromkeys(selection.rooms, unknown), "": unknown, **known}.items()


def position_before(selection: Selection, known: Mapping[str, Trimming], unknown: Trimming, since: int) -> int:
    """Looks at the last gone message of each room of `selection`. Returns the highest seq of those that were
    stored before `since` (ms since 1970); 0 if there is none. `known` and `unknown` as for `losses_between`.

    Other gone messages from before `since` may have a higher seq, as only the last one of each room has a time. So
    each log also looks for the newest retained message from before `since`, of any room."""
    trimmings = (trimmed for _, trimmed in _each(selection, known, unknown))
    return max((trimmed.seq for trimmed in trimmings if trimmed.at < since), default=0)
