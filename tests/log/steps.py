"""Steps that many tests of the log share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from roomcast.delivery.gap import Opening, PendingLosses
from roomcast.log.base import Batch, Idempotency, Log, LogConsumer, Page, RoomSort, RoomStats
from roomcast.model.message import Draft, Message
from roomcast.model.rooms import Selection

PATIENCE = 10
"""Seconds to wait for a state before the test fails."""


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
    """How many messages of each room a page after a position reports as lost."""
    found: dict[str, int] = {}
    for one in PendingLosses(Opening(after)).missing(page):
        found[one.room] = found.get(one.room, 0) + one.at_most
    return found


async def bounds(log: Log) -> tuple[int, int, int]:
    """How far the log is trimmed, its newest message, and its bytes."""
    return (await log.bounds())[:3]


async def publish(log: Log, *names: str, body: bytes = b"{}") -> list[Message]:
    """Publishes a message to each of these rooms, in this order, each in an append of its own."""
    return [(await log.append([draft(name, body)])).messages[0] for name in names]


async def until(state: Callable[[], Awaitable[bool]]) -> None:
    """Waits for a state."""
    async with asyncio.timeout(PATIENCE):
        while not await state():  # noqa: ASYNC110 -- another thread sets no event
            await asyncio.sleep(0)


async def everything(log: Log, *names: str) -> list[Message]:
    """All messages of some rooms, page by page."""
    messages: list[Message] = []
    position = 0
    while position < (await log.bounds()).newest:
        page = await log.read(rooms(*names), position, 100)
        messages += page.messages
        position = page.position
    return messages


async def trimmed(log: Log, seq: int) -> None:
    """Waits until the log is trimmed up to `seq`."""

    async def reached() -> bool:
        return (await log.bounds()).trimmed == seq

    await until(reached)


async def next_batch(consumer: LogConsumer) -> Batch:
    async with asyncio.timeout(PATIENCE):
        return await anext(consumer)


async def take(consumer: LogConsumer, count: int) -> list[Message]:
    """The next `count` messages of a consumer."""
    messages: list[Message] = []
    while len(messages) < count:
        messages += (await next_batch(consumer)).messages
    assert len(messages) == count
    return messages


def seqs(messages: Sequence[Message]) -> list[int]:
    return [message.seq for message in messages]


async def retained(log: Log, *names: str) -> list[int]:
    """The seqs of the messages that these rooms retain, at most 1,000."""
    return seqs((await log.read(rooms(*names), 0, 1_000)).messages)


async def kept(log: Log, expected: list[int], *names: str) -> None:
    """Waits until these rooms retain exactly these messages."""

    async def reached() -> bool:
        return await retained(log, *names) == expected

    await until(reached)
