"""The end of a log whose consumers are in this process."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.log.consumers import Consumers
from roomcast.log.local import LocalLog
from tests.log.test_consumers import never


class Closing(LocalLog):
    """A log that closes when the test says so."""

    def __init__(self) -> None:
        super().__init__("log", Consumers(0, 0, never, lambda: None))
        self.may_close = asyncio.Event()
        self.closed = 0

    async def _close(self) -> None:
        await self.may_close.wait()
        self.closed += 1


async def test_a_log_is_closed_once_although_a_caller_is_cancelled() -> None:
    log = Closing()
    first, second = (asyncio.create_task(log.close()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    log.may_close.set()
    await second
    await log.close()
    assert log.closed == 1
