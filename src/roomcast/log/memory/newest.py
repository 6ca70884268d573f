"""Finds where the newest messages of some rooms begin. Yields to other tasks in between."""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.log.memory.room_index import RoomIndex
from roomcast.tasks import Turns

AT_ONCE = 256
"""How many messages or rooms are looked at before other tasks may run."""


async def before_newest(indexes: Sequence[RoomIndex], wanted: int, end: int, turns: Turns) -> int:
    """The position after which the newest `wanted` messages of the rooms `indexes` up to the seq `end` begin; -1
    if there are fewer. `turns` yields to other tasks.

    A binary search, so that a replay of the newest million takes no longer than one of the newest ten. It drops
    rooms as soon as they have no messages in the remaining range."""
    low, high = 0, end
    counted = 0
    """Messages after `high`."""
    while low < high:
        middle = (low + high) // 2
        counts = await _counts(indexes, middle + 1, high, turns)
        upper = sum(counts)
        if counted + upper >= wanted:
            low = middle + 1
        else:
            counted += upper
            high = middle
            counts = await _counts(indexes, low + 1, middle, turns)
        indexes = [index for index, count in zip(indexes, counts, strict=True) if count]
    return low - 1


async def _counts(indexes: Sequence[RoomIndex], first: int, last: int, turns: Turns) -> list[int]:
    counts = []
    for number, index in enumerate(indexes):
        if not number % AT_ONCE:
            await turns.next()
        counts.append(index.count(first, last))
    return counts
