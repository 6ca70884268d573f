"""A child process's end of its connection to the supervisor, on the child's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from roomcast.model.errors import RoomcastError
from roomcast.serve.reload import Change, Reloadable
from roomcast.serve.workers.orders import (
    Apply,
    Channel,
    Connect,
    Drain,
    Forget,
    Order,
    Ping,
    Pong,
    Prepare,
    Report,
    Verdict,
)

Connecting = Callable[[int, socket.socket], Coroutine[Any, Any, None]]
"""Uses the connection between the log process and a worker, given the worker's number and this process's end."""


class SupervisorLink:
    """Carries out the supervisor's orders, and ends the process when the supervisor is gone."""

    def __init__(self, channel: Channel[Report, Order], stop: asyncio.Future[None]) -> None:
        """`stop` is completed when the process must drain and end."""
        self._channel = channel
        self._stop = stop
        self.parts: list[Reloadable] = []
        """The parts of this process that follow new settings."""
        self._connect: Connecting | None = None
        self._waiting: list[tuple[int, socket.socket]] = []
        """Connections that came before `on_connection` was called."""
        self._changes: Sequence[Change] = ()
        """Prepared changes that are not in force yet."""
        self._preparing = 0
        """The number of the `Prepare` that `_changes` may come from; 0 after `Forget`."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel.socket, self._read)

    def on_connection(self, connect: Connecting) -> None:
        """Calls `connect` for each connection, including those that have come already."""
        self._connect = connect
        waiting, self._waiting = self._waiting, []
        for worker, connected in waiting:
            self._do(connect(worker, connected))

    def report(self, report: Report) -> None:
        """Sends a report to the supervisor, if it still runs."""
        with contextlib.suppress(OSError):
            self._channel.send(report)

    def _read(self) -> None:
        for order, file in self._channel.receive():
            self._obey(order, file)
        if self._channel.ended:  # nobody would replace this process, or end it
            os._exit(1)

    def _obey(self, order: Order, file: int | None) -> None:
        if isinstance(order, Connect):
            assert file is not None
            self._take(order.worker, socket.socket(fileno=file))
        elif isinstance(order, Prepare):
            self._preparing = order.number
            self._do(self._prepare(order))
        elif isinstance(order, Apply):
            changes, self._changes = self._changes, ()
            for change in changes:
                change()
        elif isinstance(order, Forget):
            self._preparing, self._changes = 0, ()
        elif isinstance(order, Ping):
            self.report(Pong())
        elif isinstance(order, Drain) and not self._stop.done():
            self._stop.set_result(None)

    def _take(self, worker: int, connected: socket.socket) -> None:
        if self._connect:
            self._do(self._connect(worker, connected))
        else:
            self._waiting.append((worker, connected))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _prepare(self, order: Prepare) -> None:
        try:
            changes = await asyncio.to_thread(lambda: [part.prepare(order.settings) for part in self.parts])
        except RoomcastError as error:
            self.report(Verdict(order.number, error.detail))
        except Exception as error:  # the supervisor must not wait for an answer
            self.report(Verdict(order.number, f"a bug in roomcast, please report it: {error!r:.200}"))
        else:
            if order.number == self._preparing:  # a slow one may end after its Forget, and after the next Prepare
                self._changes = changes
            self.report(Verdict(order.number, ""))
