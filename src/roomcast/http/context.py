"""What all connections of a server share, and how long each may take for what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from roomcast.delivery.counts import Counts
from roomcast.delivery.engine import Engine
from roomcast.http.connections import Connections, Exchanging
from roomcast.http.handler import Handler
from roomcast.http.heads import Heads
from roomcast.http.write_batch import WriteBatch

HEAD_BYTES = 64 * 1024
"""Of a request's head: against header lines without end."""
HELD_BYTES = 64 * 1024
"""Of a body that is held until its request is complete; a larger one is read with h11's flow control."""
HEAD_SECONDS = 30.0
"""Against Slowloris: a head that trickles in holds a connection no longer than this."""
BODY_SECONDS = 60.0
"""How long a body may take: a chunked one without end would hold its connection for ever."""
IDLE_SECONDS = 75.0
"""Between two requests, and for taking an answer. Longer than the 60 s for which nginx and most clients keep a
connection: the side that uses it closes it."""
LINGER_SECONDS = 10.0
"""How long the body of a request that is answered already may still come. Its client, which is sending, would see
a reset instead of the answer."""
LOOK_SECONDS = 5.0
"""Between two looks at all connections."""
_TURN_SECONDS = 0.001
"""How long such a look takes before the others have their turn."""

logger = logging.getLogger("roomcast.server")


class Context:
    """One for all connections of a server."""

    def __init__(self, handler: Handler, engine: Engine) -> None:
        self.handler = handler
        self.heads = Heads(handler.prepare)
        self.held_body = min(HELD_BYTES, handler.max_body)
        self.batch = WriteBatch()
        self.intake = handler.intake
        self.connections = Connections(engine.settings, engine.closed)
        engine.connected = self.connections.states
        if engine.settings.max_connections_per_address and engine.together.peers:
            self.connections.counts = Counts()
            engine.together.count("addresses", self.connections.counts)
            self.connections.elsewhere = lambda address: engine.together.elsewhere("addresses", address)

    async def watch(self) -> None:
        """Looks at all connections, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.connections.look(asyncio.get_running_loop().time())
                async for connection in self._each():
                    connection.expire()
            except Exception:  # a defect, and no reason to leave all connections without it for ever
                logger.exception("the look at all connections failed")

    async def _each(self) -> AsyncIterator[Exchanging]:
        """All connections, a few in each turn of the loop: 18,000 that are silent took 0.1 s at once."""
        clock = asyncio.get_running_loop().time
        until = clock() + _TURN_SECONDS
        for socket, connection in self.connections.everyone():
            if socket in self.connections:
                yield connection
            if clock() > until:
                await asyncio.sleep(0)
                until = clock() + _TURN_SECONDS

    async def drain(self, seconds: float) -> None:
        """Ends all connections; those that are answered within `seconds`, when they are."""
        async for connection in self._each():
            connection.shutdown()
        try:
            async with asyncio.timeout(seconds):
                while self.connections.everyone():
                    self.connections.empty.clear()
                    await self.connections.empty.wait()
        except TimeoutError:
            return
