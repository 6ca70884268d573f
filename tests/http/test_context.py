"""The checks of all connections, and the counts that workers share."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.auth.guard import NO_GUARD
from roomcast.delivery.engine import Engine
from roomcast.http import context as limits
from roomcast.http.connections import ADDRESS
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.http.handler import Handler
from roomcast.model.settings import Settings
from tests.delivery.fakes import until
from tests.delivery.peers import linked
from tests.http.clients import Client


class Checked(FastPath):
    """A connection that counts its checks; the first one has a bug."""

    checks = 0

    def expire(self) -> None:
        self.checks += 1
        if self.checks == 1:
            raise RuntimeError("a bug")


async def test_a_bug_in_a_check_does_not_end_the_checks(
    context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "LOOK_SECONDS", 0.0)
    connection = Checked(context)
    connection.connection_made(Client())
    watching = asyncio.create_task(context.watch())
    await until(lambda: connection.checks > 2)
    watching.cancel()
    assert caplog.text.count("the check of all connections failed") == 1


async def test_connections_of_an_address_count_at_all_workers_together() -> None:
    settings = Settings(log="memory:", max_connections_per_address=1, trusted_proxy=())
    engines = [await Engine.over(settings, await Engine.log_of(settings), peer) for peer in linked(2)]
    contexts = [Context(Handler(engine, NO_GUARD), engine) for engine in engines]

    def connect(number: int) -> Client:
        client = Client("192.0.2.1")
        connection = FastPath(contexts[number])
        connection.connection_made(client)
        if client.aborted:
            connection.connection_lost(None)
        return client

    first = connect(0)
    engines[0].worker_group.tell()
    assert connect(1).aborted
    assert engines[1].closed[ADDRESS] == 1
    contexts[0].connections.leave(first)
    engines[0].worker_group.tell()
    assert not connect(1).aborted
    for engine in engines:
        await engine.close()
