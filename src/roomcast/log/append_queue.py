"""Appends that wait for the writer of a log. Lives on the event loop; knows no storage."""

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
"""The most appends, and bytes of bodies, that may wait for the storage. Without a limit, publishers faster than it
would fill the memory."""
GROUP_MESSAGES = 2_000
GROUP_BYTES = 4 * 1024 * 1024
"""A group that has reached either of these takes no more appends, so no publish waits long for the rest of its
group."""


class AppendRequest(NamedTuple):
    """The arguments of an append."""

    drafts: Sequence[Draft]
    idempotency: Idempotency | None


AppendAnswer = Appended | RoomcastError


class PendingAppend(NamedTuple):
    """An append that has no answer yet."""

    request: AppendRequest
    bytes: int
    """The sum of its bodies."""
    answer: asyncio.Future[Any]
    since: float
    """When it was queued, in seconds of the loop's clock."""

    @classmethod
    def for_request(cls, request: AppendRequest) -> PendingAppend:
        """A pending append for `request`, queued now. Needs a running loop."""
        loop = asyncio.get_running_loop()
        size = sum([len(draft.body) for draft in request.drafts])
        return cls(request, size, loop.create_future(), loop.time())

    def resolve(self, answer: Any) -> None:
        """Answers with `answer`: a `RoomcastError` to raise, or the result of the append."""
        if self.answer.done():  # it was cancelled, or refused as overdue; it may be stored all the same
            return
        if isinstance(answer, RoomcastError):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class AppendQueue:
    """The appends that wait for the next group, in order."""

    def __init__(self, behind: str) -> None:
        """`behind`: the error text for an append that finds the queue full."""
        self._behind = behind
        self._pending: deque[PendingAppend] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, pending: PendingAppend) -> None:
        """Appends `pending` to the queue. Raises `LogUnavailable` if too much is waiting already."""
        if len(self._pending) >= PENDING_APPENDS or self._bytes + pending.bytes > PENDING_BYTES:
            raise LogUnavailable(self._behind)
        self._pending.append(pending)
        self._bytes += pending.bytes

    def take_group(self) -> list[PendingAppend]:
        """Removes the next group from the queue, and returns it without the appends that were cancelled."""
        group: list[PendingAppend] = []
        messages = size = 0
        while self._pending and messages < GROUP_MESSAGES and size < GROUP_BYTES:
            pending = self._pending.popleft()
            self._bytes -= pending.bytes
            if not pending.answer.done():  # otherwise it was cancelled before it was written
                group.append(pending)
                messages += len(pending.request.drafts)
                size += pending.bytes
        return group

    def overdue(self, before: float) -> list[PendingAppend]:
        """Removes and returns the appends that were queued earlier than `before` (seconds of the loop's clock)."""
        overdue = []
        while self._pending and self._pending[0].since < before:
            overdue.append(self._pending.popleft())
            self._bytes -= overdue[-1].bytes
        return overdue
