"""A server that says nothing, so that no TLS handshake with it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from tests.delivery.fakes import until


class Silent:
    """The server, and how far its one client has got."""

    def __init__(self, port: int) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.greeted = asyncio.Event()
        """Set when the client has begun its handshake."""
        self.left = asyncio.Event()
        """Set when the client has closed its connection."""


@asynccontextmanager
async def silent() -> AsyncIterator[Silent]:
    """A server that says nothing, until the end of the block."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        server.greeted.set()
        with suppress(OSError):
            await reader.read()
        server.left.set()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server = Silent(listening.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listening.close()


async def leaves(server: Silent, work: Coroutine[Any, Any, object]) -> None:
    """Cancels `work` during its handshake with `server`, and waits until it has closed its connection."""
    task = asyncio.create_task(work)
    await until(server.greeted.is_set)
    task.cancel()
    await until(server.left.is_set)
    with pytest.raises(asyncio.CancelledError):
        await task
