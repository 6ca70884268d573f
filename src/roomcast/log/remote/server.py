"""The log process: a log, and the workers that use it. This module does not know how processes are started.

Laws:
- Appends of all workers go into the log's own groups, so one transaction stores those of many workers.
- A batch is encoded once for all workers. A worker that has requested it gets it before the answers to the appends
  that it came from.
- The log process waits for no worker. Each consumer has at most one batch on its way, and the process reads
  nothing from a worker that does not read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from msgspec import Raw

from roomcast.log.base import Log
from roomcast.log.remote.exchange import WorkerExchange
from roomcast.log.remote.frames import LogStatus, RevocationList, encode
from roomcast.log.remote.link import set_up_socket
from roomcast.log.remote.worker_connection import WorkerConnection
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import Message

STATUS_SECONDS = 1.0
"""Seconds between two checks of the log's status: it also changes when a delete or a step of trimming fails, or
succeeds again."""


class LogServer:
    """One log for any number of workers; or no log, if each worker opens it by itself."""

    def __init__(self, log: Log | None) -> None:
        self._log = log
        self.exchange = WorkerExchange()
        self._connections: set[WorkerConnection] = set()
        self._status = _status(log) if log else None
        """The log's status as last sent to the workers."""
        self._messages: Sequence[Message] = ()
        self._encoded = Raw(encode(()))
        """The last encoded messages: one batch goes to many workers."""
        self._check: asyncio.TimerHandle | None = None
        """The next check of the status; none before a worker connects."""

    @property
    def log(self) -> Log:
        """The log. Raises `LogUnavailable` if there is none."""
        if self._log is None:
            raise LogUnavailable("This process owns no log.")
        return self._log

    async def connect(self, worker: int, connected: socket.socket) -> None:
        """Serves the worker with the number `worker` over `connected`, a socket that is connected to it."""
        set_up_socket(connected)
        revoked = await self._revocations()
        loop = asyncio.get_running_loop()
        if self._check is None:
            self._check_status(loop)
        await loop.create_unix_connection(lambda: WorkerConnection(self, worker, revoked), sock=connected)
        if await self._revocations() != revoked:  # they changed while it connected
            await self.tell_revocations()

    def enter(self, connection: WorkerConnection, revoked: RevocationList) -> None:
        """Adds a worker that has connected, and sends it `revoked` first: it must know these before it serves
        anybody. Called by the `connection` itself, as is `leave`."""
        self._connections.add(connection)
        if self._log:
            connection.send(revoked)
            connection.send(_status(self._log))
        self.exchange.enter(connection)

    def leave(self, connection: WorkerConnection) -> None:
        """Removes a worker whose `connection` is gone."""
        self._connections.discard(connection)
        self.exchange.leave(connection)

    def tell_status(self) -> None:
        """Sends the log's status to all workers if it has changed."""
        if self._log and (status := _status(self._log)) != self._status:
            self._status = status
            for connection in self._connections:
                connection.send(status)

    async def tell_revocations(self) -> None:
        """Sends all revocations to all workers."""
        revoked = await self._revocations()
        for connection in self._connections:
            connection.send(revoked)

    def encode_messages(self, messages: Sequence[Message]) -> Raw:
        """The `messages` of a batch, encoded once for all workers."""
        if messages is not self._messages:
            self._messages, self._encoded = messages, Raw(encode(messages))
        return self._encoded

    def close(self) -> None:
        """Ends all connections. The log stays open."""
        if self._check:
            self._check.cancel()
        for connection in list(self._connections):
            connection.close()

    def _check_status(self, loop: asyncio.AbstractEventLoop) -> None:
        self.tell_status()
        self._check = loop.call_later(STATUS_SECONDS, self._check_status, loop)

    async def _revocations(self) -> RevocationList:
        return RevocationList(list(await self._log.revocations()) if self._log else [])


def _status(log: Log) -> LogStatus:
    return LogStatus(log.name, log.epoch, log.retention, log.unwritable)
