"""The log process's side: a log, and the workers that use it. It does not know how processes are started.

Laws:
- Appends of all workers go into the log's own groups, so one transaction stores those of many workers.
- A batch is encoded once for all workers, and sent before the answers to the appends that it came from.
- The log process waits for no worker. Each consumer has at most one batch on its way, and the process reads
  nothing from a worker that does not read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from msgspec import Raw, Struct

from roomcast.log import base
from roomcast.log.base import Consuming, Log
from roomcast.log.remote.errors import kind_of
from roomcast.log.remote.exchange import Exchange
from roomcast.log.remote.frames import (
    Append,
    Appended,
    Ask,
    Call,
    Consume,
    Ended,
    Failed,
    Given,
    Leave,
    Next,
    Opened,
    Refused,
    Reply,
    Result,
    Revoked,
    Splitter,
    Stored,
    Tell,
    arguments_of,
    decode_from_worker,
    encode,
    framed,
)
from roomcast.log.remote.link import LARGE
from roomcast.model.errors import LogUnavailable, RoomcastError
from roomcast.model.message import Message

logger = logging.getLogger("roomcast.log")


class LogServer:
    """One log for any number of workers; or no log, if each worker opens it by itself."""

    def __init__(self, log: Log | None) -> None:
        self.log = log
        self.exchange = Exchange()
        self._connections: set[Connection] = set()
        self._told = _opened(log) if log else None
        """The log's state as last sent to the workers."""
        self._messages: Sequence[Message] = ()
        self._encoded = Raw(encode(()))
        """The last encoded messages: one batch goes to many workers."""

    async def connect(self, worker: int, connected: socket.socket) -> None:
        """Serves a worker over a socket."""
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connected.setsockopt(socket.SOL_SOCKET, option, LARGE)
        connected.setblocking(False)
        revoked = await self._revoked()
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: Connection(self, worker, revoked), sock=connected)
        if await self._revoked() != revoked:  # meanwhile
            await self.tell_revocations()

    def enter(self, connection: Connection, revoked: Revoked) -> None:
        """A worker has connected. It must know `revoked` before it serves anybody."""
        self._connections.add(connection)
        if self.log:
            connection.send(revoked)
            connection.send(_opened(self.log))
        self.exchange.enter(connection)

    def leave(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.exchange.leave(connection)

    def check(self) -> None:
        """Tells the workers if the log's state has changed."""
        if self.log and (opened := _opened(self.log)) != self._told:
            self._told = opened
            for connection in self._connections:
                connection.send(opened)

    async def tell_revocations(self) -> None:
        """Tells all workers what is revoked."""
        revoked = await self._revoked()
        for connection in self._connections:
            connection.send(revoked)

    async def _revoked(self) -> Revoked:
        return Revoked(list(await self.log.revocations()) if self.log else [])

    def encoded(self, messages: Sequence[Message]) -> Raw:
        """The messages of a batch."""
        if messages is not self._messages:
            self._messages, self._encoded = messages, Raw(encode(messages))
        return self._encoded

    def close(self) -> None:
        """Ends all connections. The log stays open."""
        for connection in list(self._connections):
            connection.close()


def _opened(log: Log) -> Opened:
    return Opened(log.name, log.epoch, log.retention, log.unwritable)


class Connection(asyncio.Protocol):
    """One worker."""

    def __init__(self, server: LogServer, worker: int, revoked: Revoked) -> None:
        self._revoked = revoked
        """The revocations at the time it connected."""
        self.worker = worker
        """Its number."""
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._splitter = Splitter()
        self._out: list[bytes] = []
        self._stored: list[Stored] = []
        self._refused: list[Refused] = []
        """Outcomes of appends in this turn; they are sent after the batches of the same turn."""
        self._flushing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._consumers: dict[int, Serving] = {}
        self._hearing: dict[type, Callable[[Any], None]] = {
            Append: self._append,
            Call: lambda call: self._start(self._call(call)),
            Consume: self._consume,
            Next: lambda next: self._consumer(next.number, Serving.ask),
            Leave: lambda leave: self._consumer(leave.number, Serving.leave),
            Tell: lambda tell: server.exchange.tell(self, tell),
            Ask: lambda ask: server.exchange.ask(self, ask),
            Reply: lambda reply: server.exchange.reply(self, reply),
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.enter(self, self._revoked)

    def data_received(self, data: bytes) -> None:
        for data_of_frame in self._splitter.feed(data):
            frame = decode_from_worker(data_of_frame)
            self._hearing[type(frame)](frame)

    def pause_writing(self) -> None:
        if self._transport:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport:
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._server.leave(self)
        for task in self._tasks:
            task.cancel()
        for serving in list(self._consumers.values()):
            serving.leave()

    def close(self) -> None:
        """Sends what waits, and ends."""
        if self._transport:
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Ends at once. The worker may connect again."""
        if self._transport:
            self._transport.abort()

    @property
    def waiting(self) -> int:
        """Bytes that the worker has not taken."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def send(self, frame: Struct) -> None:
        """Sends a frame at the end of this turn."""
        if self._transport:
            self._out.append(framed(frame))
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._stored or self._refused:
            self._out.append(framed(Appended(self._stored, self._refused)))
            self._stored, self._refused = [], []
            self._server.check()
        if self._transport and self._out:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # Appends

    def _append(self, append: Append) -> None:
        for number, (drafts, idempotency) in enumerate(append.requests, append.first):
            answer = self._log.append(drafts, idempotency)
            answer.add_done_callback(partial(self._appended, number))

    def _appended(self, number: int, answer: asyncio.Future[base.Appended]) -> None:
        error = None if answer.cancelled() else answer.exception()
        if error is not None:
            self._refused.append((number, *kind_of(error)))
        else:
            messages, repeated = answer.result()
            seq, stored_at = (messages[0].seq, messages[0].stored_at) if messages else (0, 0)
            self._stored.append((number, seq, stored_at, [message.prev for message in messages], repeated))
        self._flush_soon()

    # Calls

    async def _call(self, call: Call) -> None:
        try:
            value = await self._done(call)
        except Exception as error:
            if not isinstance(error, RoomcastError):
                logger.exception("%s failed", call.method)
            self.send(Failed(call.number, *kind_of(error)))
        else:
            self.send(Result(call.number, Raw(encode(value))))

    async def _done(self, call: Call) -> Any:
        arguments = arguments_of[call.method](call.arguments)
        if call.method == "revoke":
            await self._log.revoke(*arguments)
            await self._server.tell_revocations()  # before the answer to the caller
            return None
        if call.method == "keep":
            self._log.keep(*arguments)()
            self._server.check()
            return None
        return await getattr(self._log, call.method)(*arguments)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def _log(self) -> Log:
        if self._server.log is None:
            raise LogUnavailable("This process owns no log.")
        return self._server.log

    # Consumers

    def _consume(self, consume: Consume) -> None:
        consumer = self._log.consumer(consume.name, consume.after, holds=consume.holds)
        self._consumers[consume.number] = serving = Serving(self, self._server, consume.number, consumer)
        self._start(serving.run())

    def _consumer(self, number: int, then: Callable[[Serving], None]) -> None:
        if serving := self._consumers.get(number):
            then(serving)

    def forget(self, number: int) -> None:
        """The consumer with this number has ended."""
        self._consumers.pop(number, None)


class Serving:
    """A worker's consumer: it sends one batch per request, and none without a request."""

    def __init__(self, connection: Connection, server: LogServer, number: int, consumer: Consuming) -> None:
        self._connection = connection
        self._server = server
        self._number = number
        self._consumer = consumer
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """The worker has delivered the last batch."""
        self._asked.set()

    def leave(self) -> None:
        """The worker wants no more."""
        self._connection.forget(self._number)
        closing = asyncio.ensure_future(self._consumer.aclose())
        closing.add_done_callback(lambda _: self._asked.set())

    async def run(self) -> None:
        """Runs until the consumer ends or fails; the worker then begins another one."""
        try:
            while await self._asked.wait():
                self._asked.clear()
                self._connection.send(self._given(await anext(self._consumer)))
        except StopAsyncIteration:
            self._connection.send(Ended(self._number))
        except RoomcastError as error:
            self._connection.send(Failed(self._number, *kind_of(error)))
            await self._consumer.aclose()
        finally:
            self._connection.forget(self._number)

    def _given(self, batch: base.Batch) -> Given:
        messages = self._server.encoded(batch.messages)
        return Given(self._number, messages, batch.trimmed, batch.position, list(batch.cuts), batch.missed)
