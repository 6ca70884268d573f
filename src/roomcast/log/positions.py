"""The positions of consumers, for metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class _Placed(Protocol):
    """The part of a consumer that concerns its position."""

    name: str
    position: int


def positions(consumers: Iterable[_Placed]) -> dict[str, int]:
    """The positions of `consumers` by name. If several share a name, it has the position of the slowest."""
    found: dict[str, int] = {}
    for consumer in consumers:
        found[consumer.name] = min(found.get(consumer.name, consumer.position), consumer.position)
    return found
