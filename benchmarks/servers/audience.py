"""Fan-out inside one asyncio process, as guides to SSE in Python show it: each client has a queue of its own."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Audience(Generic[T]):
    """The followers of each room."""

    def __init__(self) -> None:
        self._queues: dict[str, set[asyncio.Queue[T]]] = defaultdict(set)

    @contextmanager
    def joined(self, room: str) -> Iterator[asyncio.Queue[T]]:
        """A queue that receives each message of the room."""
        queue: asyncio.Queue[T] = asyncio.Queue()
        self._queues[room].add(queue)
        try:
            yield queue
        finally:
            self._queues[room].discard(queue)

    def tell(self, room: str, message: T) -> None:
        """Puts the `message` into the queue of each follower of `room`."""
        for queue in self._queues[room]:
            queue.put_nowait(message)
