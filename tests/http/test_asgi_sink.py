"""A follower's sink in a host application: it is bounded, and it ends once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomcast.delivery.budget import Budget
from roomcast.http.asgi_sink import AsgiSink
from tests.delivery.fakes import until
from tests.http.test_connection import FakeStream


class Host:
    """A host's server; its client disconnects, and takes bytes, when the test says so."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        await self.takes.wait()


@pytest.fixture
def budget() -> Budget:
    return Budget(1_000)


@pytest.fixture
def sink(budget: Budget) -> AsgiSink:
    made = AsgiSink(budget)
    made.stream = FakeStream()
    return made


def told(sink: AsgiSink) -> list[str]:
    assert isinstance(sink.stream, FakeStream)
    return sink.stream.told


async def test_everything_pending_is_sent_before_the_end(sink: AsgiSink, budget: Budget) -> None:
    host = Host()
    sink.write(b"one")
    sink.close(b"two")
    await sink.run(host.receive, host.send)
    assert [message["body"] for message in host.sent] == [b"onetwo", b""]
    assert (host.sent[-1]["more_body"], told(sink), budget.used) == (False, ["client"], 0)


async def test_a_stream_that_ended_writes_nothing_more(sink: AsgiSink, budget: Budget) -> None:
    sink.abort()
    assert sink.write(b"late") is False
    assert (sink.waiting(), budget.used) == (0, 0)


async def test_a_stream_for_whose_bytes_there_is_no_memory_ends_as_overloaded(
    sink: AsgiSink, budget: Budget
) -> None:
    host = Host()
    host.takes.clear()
    running = asyncio.create_task(sink.run(host.receive, host.send))
    sink.write(b"x" * 600)
    await until(lambda: host.sent)
    assert sink.write(b"y" * 600) is False
    await running
    assert (told(sink), budget.used) == (["overload"], 0)


async def test_a_client_that_leaves_ends_a_send_that_waits_for_it(sink: AsgiSink, budget: Budget) -> None:
    host = Host()
    host.takes.clear()
    running = asyncio.create_task(sink.run(host.receive, host.send))
    sink.write(b"one")
    await until(lambda: host.sent)
    sink.write(b"two")
    host.gone.set()
    await running
    assert (told(sink), budget.used) == (["client"], 0)


async def test_a_sink_without_a_stream_ends_with_its_client(budget: Budget) -> None:
    host = Host()
    host.gone.set()
    await AsgiSink(budget).run(host.receive, host.send)
    assert host.sent == []
