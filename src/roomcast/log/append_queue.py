"""Appends that wait for the writer of their log. Lives on the event loop; knows no storage."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from roomcast.log.base import Appended, Idempotency
from roomcast.model.errors import LogUnavailable, RoomcastError
from roomcast.model.message import Draft

PENDING_APPENDS = 10_000
PENDING_BYTES = 64 * 1024 * 1024
"""What may wait for the storage: publishers that are faster would fill the memory."""
GROUP_MESSAGES = 2_000
GROUP_BYTES = 4 * 1024 * 1024
"""What one group takes on, so that no publish waits long for the others of its group."""


class Request(NamedTuple):
    """An append, as it waits for its group."""

    drafts: Sequence[Draft]
    idempotency: Idempotency | None


Answer = Appended | RoomcastError


class Pending(NamedTuple):
    """An append that waits for its group, or for its answer."""

    request: Request
    bytes: int
    answer: asyncio.Future[Any]
    since: float
    """When it came, in the loop's time."""

    @classmethod
    def of(cls, request: Request) -> Pending:
        loop = asyncio.get_running_loop()
        size = sum([len(draft.body) for draft in request.drafts])
        return cls(request, size, loop.create_future(), loop.time())

    def resolve(self, answer: Any) -> None:
        if self.answer.done():  # Cancelled while its group was on its way: its messages are stored all the same.
            return
        if isinstance(answer, RoomcastError):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class Queue:
    """Those that wait for the next group, in order."""

    def __init__(self, behind: str) -> None:
        self._behind = behind
        """What to say where too much waits already."""
        self._pending: deque[Pending] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, pending: Pending) -> None:
        """Raises `LogUnavailable` where too much waits already."""
        if len(self._pending) >= PENDING_APPENDS or self._bytes + pending.bytes > PENDING_BYTES:
            raise LogUnavailable(self._behind)
        self._pending.append(pending)
        self._bytes += pending.bytes

    def take_group(self) -> list[Pending]:
        """The next group, and off the queue with it."""
        group: list[Pending] = []
        messages = size = 0
        while self._pending and messages < GROUP_MESSAGES and size < GROUP_BYTES:
            pending = self._pending.popleft()
            self._bytes -= pending.bytes
            # Whoever has been cancelled by now has asked for nothing yet.
            if not pending.answer.done():
                group.append(pending)
                messages += len(pending.request.drafts)
                size += pending.bytes
        return group

    def overdue(self, before: float) -> list[Pending]:
        """Those that came before a time, and off the queue with them."""
        overdue = []
        while self._pending and self._pending[0].since < before:
            overdue.append(self._pending.popleft())
            self._bytes -= overdue[-1].bytes
        return overdue
