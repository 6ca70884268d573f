"""The positions of consumers, for metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

NAMED = 100
"""The most names that are returned: each is a row of the metrics."""


class _Placed(Protocol):
    """The part of a consumer that concerns its position."""

    name: str
    position: int


def positions(consumers: Iterable[_Placed]) -> dict[str, int]:
    """Positions by consumer name, for at most `NAMED` names. A shared name has the position of its slowest."""
    found: dict[str, int] = {}
    for consumer in consumers:
        position = found.get(consumer.name, consumer.position)
        if consumer.name in found or len(found) < NAMED:
            found[consumer.name] = min(position, consumer.position)
    return found
