"""The CPU time of a turn of the loop, whatever connections there are."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomcast.auth.guard import NO_GUARD
from roomcast.delivery.engine import Engine
from roomcast.http import context as limits
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.http.handler import Handler
from roomcast.http.http1 import Http1
from roomcast.model.settings import Settings
from tests.delivery.fakes import until
from tests.http.clients import Transport
from tests.raw import JSON, request

LONGEST = 0.005
"""Seconds of CPU that a turn may take."""
CROWD = 20_000
FIELDS = b"a:\r\n" * 15_000
CHUNKED = request("POST", "/messages", JSON, "Transfer-Encoding: chunked")


class Socket(Transport):
    """The transport of a connection from this machine."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...


@pytest.fixture
async def context() -> AsyncIterator[Context]:
    engine = await Engine.open(Settings(log="memory:"))
    yield Context(Handler(engine, NO_GUARD), engine)
    await engine.close()


class Turns:
    """Measures the CPU time of each turn of the loop within an `async with`; `longest` is in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def __aenter__(self) -> Turns:
        gc.collect()
        gc.disable()  # it would also visit the tests' objects; a server freezes those of its start
        self._ticking = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        gc.enable()
        self._ticking.cancel()

    async def _tick(self) -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.thread_time() - began)


def arrive(context: Context, count: int, data: bytes) -> list[FastPath]:
    connections = [FastPath(context) for _ in range(count)]
    for connection in connections:
        connection.connection_made(Socket())
        if data:
            connection.data_received(data)
    return connections


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\n"], ids=["nothing", "half a head"])
async def test_point_2_a_look_at_20000_connections_is_no_long_turn(
    context: Context, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    context.connections.limit = 2 * CROWD
    arrive(context, CROWD, sent)
    monkeypatch.setattr(limits, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.0)
    monkeypatch.setattr(type(context.connections), "look", lambda *_: None)
    async with Turns() as turns:
        watching = asyncio.create_task(context.watch())
        closed = context.connections._closed
        await until(lambda: closed["head"] >= CROWD)
        watching.cancel()
    assert turns.longest < LONGEST


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + FIELDS + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + FIELDS,
        b"\r\n" * 100_000,
        CHUNKED + b"0\r\n" + FIELDS + b"\r\n",
        CHUNKED + b"1\r\n \r\n" * 30_000,
    ],
    ids=["a head", "a head without end", "empty lines", "a trailer", "chunks of a byte"],
)
@pytest.mark.parametrize("way", [FastPath, Http1])
async def test_point_2_lines_without_end_are_no_long_turn(
    context: Context, way: type[FastPath | Http1], sent: bytes
) -> None:
    connection, transport = way(context), Socket()
    connection.connection_made(transport)
    async with Turns() as turns:
        began = time.thread_time()
        connection.data_received(sent)
        took = time.thread_time() - began
        for _ in range(200):
            await asyncio.sleep(0)
    assert max(took, turns.longest) < LONGEST
    assert transport.written[:13] in (b"", b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")
