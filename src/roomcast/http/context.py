"""What all connections of a server share, and how long each may take for what."""

from __future__ import annotations

import asyncio
from typing import Protocol

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


class Exchanging(Protocol):
    """A connection that carries requests; a follower's no longer does."""

    def expire(self) -> None:
        """Ends what has taken too long. Called every `LOOK_SECONDS`."""
        ...

    def shutdown(self) -> None:
        """The server is about to end: what is under way is answered, and nothing more."""
        ...


class Context:
    """One for all connections of a server."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.heads = Heads(handler.prepare)
        self.held_body = min(HELD_BYTES, handler.max_body)
        self.batch = WriteBatch()
        self.connections: set[Exchanging] = set()
        self.empty = asyncio.Event()
        """Set when the last of them is gone."""

    def leave(self, connection: Exchanging) -> None:
        """A connection is gone, or a follower's from now on."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()

    async def watch(self) -> None:
        """Looks at all connections, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for connection in list(self.connections):
                connection.expire()

    async def drain(self, seconds: float) -> None:
        """Ends all connections; those that are answered within `seconds`, when they are."""
        for connection in list(self.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(seconds):
                while self.connections:
                    self.empty.clear()
                    await self.empty.wait()
        except TimeoutError:
            return
