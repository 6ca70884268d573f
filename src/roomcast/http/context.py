"""The state that all connections of a server share, and their time limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from roomcast.delivery.counts import Counts
from roomcast.delivery.engine import Engine
from roomcast.http.connections import Connections, RequestConnection
from roomcast.http.handler import Handler
from roomcast.http.heads import Heads
from roomcast.http.write_batch import WriteBatch

HEAD_BYTES = 64 * 1024
"""Longest head of a request: stops endless header lines."""
BUFFERED_BYTES = 64 * 1024
"""Longest body that the fast path receives; a request with a larger one goes to `Http1`."""
HEAD_SECONDS = 30.0
"""Stops Slowloris: a slow head may hold a connection no longer than this."""
BODY_SECONDS = 60.0
"""Longest time for a body: an endless chunked one would hold its connection for ever."""
IDLE_SECONDS = 75.0
"""Longest time between two requests, and for reading an answer. nginx and most clients keep a connection for 60 s;
they should close it first."""
LINGER_SECONDS = 10.0
"""How long the body of an already answered request is still read. Without this, a client that is still sending
would see a reset instead of the answer."""
LOOK_SECONDS = 5.0
"""Time between two checks of all connections."""
_TURN_SECONDS = 0.001
"""How long such a check runs before other tasks have the loop."""

logger = logging.getLogger("roomcast.server")


class Context:
    """The shared state; a server has one."""

    def __init__(self, handler: Handler, engine: Engine) -> None:
        self.handler = handler
        self.heads = Heads(handler.prepare)
        self.max_buffered_body = min(BUFFERED_BYTES, handler.max_body)
        self.batch = WriteBatch()
        self.intake = handler.intake
        self.connections = Connections(engine.settings, engine.closed)
        engine.connected = self.connections.states
        if engine.settings.max_connections_per_address and engine.worker_group.peers:
            self.connections.counts = Counts()
            engine.worker_group.count("addresses", self.connections.counts)
            self.connections.elsewhere = lambda address: engine.worker_group.elsewhere("addresses", address)

    async def watch(self) -> None:
        """Checks all connections every few seconds, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.connections.look(asyncio.get_running_loop().time())
                async for connection in self._each():
                    connection.expire()
            except Exception:  # a bug must not end the checks for all connections
                logger.exception("the check of all connections failed")

    async def _each(self) -> AsyncIterator[RequestConnection]:
        """All connections, a few in each turn of the loop: 18,000 silent ones took 0.1 s in one turn."""
        clock = asyncio.get_running_loop().time
        until = clock() + _TURN_SECONDS
        for socket, connection in self.connections.everyone():
            if socket in self.connections:
                yield connection
            if clock() > until:
                await asyncio.sleep(0)
                until = clock() + _TURN_SECONDS

    async def drain(self, seconds: float) -> None:
        """Closes all connections that are not streams. Waits up to `seconds` for pending answers."""
        async for connection in self._each():
            connection.shutdown()
        try:
            async with asyncio.timeout(seconds):
                while self.connections.everyone():
                    self.connections.empty.clear()
                    await self.connections.empty.wait()
        except TimeoutError:
            return
