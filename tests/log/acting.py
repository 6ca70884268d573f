"""What the tests of the log do again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from roomcast.delivery.gap import Owed
from roomcast.log.base import Batch, Consuming, Idempotency, Log, Page, RoomSort, RoomStats
from roomcast.model.message import Draft, Message
from roomcast.model.rooms import Selection

PATIENCE = 10
"""Seconds after which a state that does not come has failed the test."""


def draft(room: str = "a", body: bytes = b"{}", type_: str | None = None) -> Draft:
    return Draft(room, type_, body)


def key(name: str, digest: bytes = b"digest", scope: str = "") -> Idempotency:
    return Idempotency(name, digest, scope)


def rooms(*names: str) -> Selection:
    return Selection.of(names)


async def listed(log: Log, prefix: str = "", sort: RoomSort = "name", limit: int = 1_000) -> list[RoomStats]:
    """All rooms, page by page."""
    found: list[RoomStats] = []
    after: str | int | None = None
    while page := await log.rooms(prefix, sort, after, limit):
        assert len(page) <= limit
        found += page
        after = page[-1].room if sort == "name" else page[-1].newest
    return found


def told(page: Page, after: int) -> dict[str, int]:
    """How much of each room is told to be lost in a page after a position."""
    found: dict[str, int] = {}
    for one in Owed(after, exact=True).missing(page):
        found[one.room] = found.get(one.room, 0) + one.at_most
    return found


async def bounds(log: Log) -> tuple[int, int, int]:
    """How far the log is trimmed, its newest message, and its bytes."""
    return (await log.bounds())[:3]


async def publish(log: Log, *names: str, body: bytes = b"{}") -> list[Message]:
    """A message to each of these rooms, in this order, each an append of its own."""
    return [(await log.append([draft(name, body)])).messages[0] for name in names]


async def until(state: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await state():  # noqa: ASYNC110 -- there is no event for what another thread does
            await asyncio.sleep(0)


async def trimmed(log: Log, seq: int) -> None:
    """Waits until the log is trimmed up to `seq`."""

    async def reached() -> bool:
        return (await log.bounds()).trimmed == seq

    await until(reached)


async def next_batch(tail: Consuming) -> Batch:
    async with asyncio.timeout(PATIENCE):
        return await anext(tail)


async def take(tail: Consuming, count: int) -> list[Message]:
    """The next `count` messages of the tail."""
    messages: list[Message] = []
    while len(messages) < count:
        messages += (await next_batch(tail)).messages
    assert len(messages) == count
    return messages


def seqs(messages: Sequence[Message]) -> list[int]:
    return [message.seq for message in messages]
