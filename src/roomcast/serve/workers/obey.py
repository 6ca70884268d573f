"""A process's side of the supervisor's orders, on its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence

from roomcast.model.errors import RoomcastError
from roomcast.serve.reload import Commit as Change
from roomcast.serve.reload import Reloadable
from roomcast.serve.workers.orders import (
    Channel,
    Commit,
    Connect,
    Drain,
    Forget,
    Order,
    Ping,
    Pong,
    Prepare,
    Prepared,
)


class Obedience:
    """Carries out the supervisor's orders, and ends the process when the supervisor is gone."""

    def __init__(self, channel: Channel, stop: asyncio.Future[None]) -> None:
        """`stop` is completed when the process must end in order."""
        self._channel = channel
        self._stop = stop
        self.things: list[Reloadable] = []
        """The parts of the process that follow new settings."""
        self.connect: Callable[[int, socket.socket], object] = lambda worker, connected: connected.close()
        """Called with a worker's number and a socket, for a connection between it and the log process."""
        self._changes: Sequence[Change] = ()
        """Prepared changes that are not in force yet."""
        self._preparing: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel.socket, self._read)

    def say(self, order: Order) -> None:
        """Sends a message to the supervisor, if it still runs."""
        with contextlib.suppress(OSError):
            self._channel.send(order)

    def _read(self) -> None:
        for order, file in self._channel.receive():
            self._obey(order, file)
        if self._channel.ended:  # nobody would start another one, or end this one
            os._exit(1)

    def _obey(self, order: Order, file: int | None) -> None:
        if isinstance(order, Connect):
            assert file is not None
            self.connect(order.worker, socket.socket(fileno=file))
        elif isinstance(order, Prepare):
            self._preparing = self._loop.create_task(self._prepare(order))
        elif isinstance(order, Commit):
            changes, self._changes = self._changes, ()
            for change in changes:
                change()
        elif isinstance(order, Forget):
            self._changes = ()
        elif isinstance(order, Ping):
            self.say(Pong())
        elif isinstance(order, Drain) and not self._stop.done():
            self._stop.set_result(None)

    async def _prepare(self, order: Prepare) -> None:
        try:
            self._changes = await asyncio.to_thread(
                lambda: [thing.prepare(order.settings) for thing in self.things]
            )
        except RoomcastError as error:
            self.say(Prepared(order.number, error.detail))
        except Exception as error:  # a bug must not leave the supervisor waiting
            self.say(Prepared(order.number, f"a mistake of roomcast: {error!r:.200}"))
        else:
            self.say(Prepared(order.number, ""))
