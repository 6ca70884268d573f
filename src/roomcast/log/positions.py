"""The positions of consumers, for metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

MOST_NAMES = 100
"""The most names that `positions` returns: each is a row of the metrics."""


class _Placed(Protocol):
    """The part of a consumer that concerns its position."""

    name: str
    position: int


def positions(consumers: Iterable[_Placed]) -> dict[str, int]:
    """The positions of `consumers` by name, for at most `MOST_NAMES` names. A shared name has the position of its
    slowest."""
    found: dict[str, int] = {}
    for consumer in consumers:
        position = found.get(consumer.name, consumer.position)
        if consumer.name in found or len(found) < MOST_NAMES:
            found[consumer.name] = min(position, consumer.position)
    return found
