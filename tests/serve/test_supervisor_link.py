"""A child process's end of its connection to the supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from threading import Event

import pytest

from roomcast.model.settings import Settings
from roomcast.serve.reload import Change, Reloadable
from roomcast.serve.workers.orders import Apply, Channel, Forget, Order, Ping, Pong, Prepare, Report, Verdict
from roomcast.serve.workers.supervisor_link import SupervisorLink
from tests.delivery.fakes import until

SLOW, FAST = 7.0, 8.0
"""Heartbeats. Settings with the first are prepared only once the test allows it."""


class Process:
    """A child process's link, whose only part takes the heartbeat, and the supervisor's end."""

    def __init__(self) -> None:
        self.supervisor: Channel[Order, Report]
        self.supervisor, self.child = Channel.pair()
        self.reports: list[Report] = []
        self.applied: list[float] = []
        self.allowed = Event()

    async def obey(self, *orders: Order, then: Report) -> None:
        """Sends `orders`, and returns once the process has reported `then`."""
        for order in orders:
            self.supervisor.send(order)
        await until(lambda: then in self._heard())

    def _heard(self) -> list[Report]:
        self.reports += [report for report, _ in self.supervisor.receive()]
        return self.reports

    def prepare(self, settings: Settings) -> Change:
        if settings.heartbeat == SLOW:
            self.allowed.wait()
        return lambda: self.applied.append(settings.heartbeat)


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    yield process
    process.allowed.set()
    process.supervisor.close()
    process.child.close()


async def test_settings_that_are_prepared_after_their_forget_replace_no_newer_ones(process: Process) -> None:
    loop = asyncio.get_running_loop()
    link = SupervisorLink(process.child, loop.create_future())
    link.parts.append(Reloadable("it", ("heartbeat",), process.prepare))
    slow, fast = Prepare(1, Settings(heartbeat=SLOW)), Prepare(2, Settings(heartbeat=FAST))
    await process.obey(slow, Forget(), fast, then=Verdict(2, ""))
    process.allowed.set()
    await process.obey(then=Verdict(1, ""))
    await process.obey(Apply(), Ping(), then=Pong())
    loop.remove_reader(process.child.socket)
    assert process.applied == [FAST]
