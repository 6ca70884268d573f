"""The part of a log that is the same on every backend whose consumers live in this process."""

from __future__ import annotations

import asyncio

from roomcast.log.consumers import Consumer, Consumers
from roomcast.model.errors import LogUnavailable


class LocalLog:
    """Consumers, and closing. A backend implements `_close`, which runs once however often the log is closed."""

    def __init__(self, name: str, consumers: Consumers) -> None:
        self.name = name
        self._consumers = consumers
        self._closing: asyncio.Task[None] | None = None

    def consumer(self, name: str, after: int) -> Consumer:
        return self._consumers.open(name, after)

    def positions(self) -> dict[str, int]:
        return self._consumers.positions()

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        raise NotImplementedError

    def _check_open(self) -> None:
        if self._closing:
            raise LogUnavailable("The log is closed.")
