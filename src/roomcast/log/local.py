"""The part of a log that is the same on every backend whose consumers live in this process."""

from __future__ import annotations

import asyncio

from roomcast.log.consumers import Consumer, Consumers
from roomcast.model.errors import LogUnavailable


class LocalLog:
    """Holds the consumers of a log, and closes the log. A backend implements `_close`, which runs once however
    often `close` is called."""

    def __init__(self, name: str, consumers: Consumers) -> None:
        self.name = name
        self._consumers = consumers
        self._closing: asyncio.Task[None] | None = None

    def consumer(self, name: str, after: int) -> Consumer:
        """As in `Log`: a consumer named `name` of the messages after the seq `after`. Ends at once if the log is
        closed."""
        return self._consumers.open(name, after)

    def positions(self) -> dict[str, int]:
        """As in `Log`: the last delivered seq by consumer name."""
        return self._consumers.positions()

    async def close(self) -> None:
        """As in `Log`. A caller that is cancelled does not stop the closing."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        raise NotImplementedError

    def _check_open(self) -> None:
        if self._closing:
            raise LogUnavailable("The log is closed.")
