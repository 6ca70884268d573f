"""The shared state of a server's connections, over a log in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from roomcast.auth.guard import NO_GUARD
from roomcast.delivery.engine import Engine
from roomcast.http.context import Context
from roomcast.http.handler import Handler
from roomcast.model.settings import Settings
from tests.http.clients import Client


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = await Engine.open(Settings(log="memory:"))
    yield engine
    await engine.close()


@pytest.fixture
def context(engine: Engine) -> Context:
    return Context(Handler(engine, NO_GUARD), engine)


@pytest.fixture
def client() -> Client:
    return Client()
