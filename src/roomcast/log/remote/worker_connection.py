"""One worker's connection, in the log process: handles the frames of the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, cast

from msgspec import Raw, Struct

from roomcast.log.base import Appended, Log
from roomcast.log.remote.consumer_proxy import ConsumerProxy
from roomcast.log.remote.errors import encode_error
from roomcast.log.remote.exchange import WorkerExchange
from roomcast.log.remote.frames import (
    AppendOutcomes,
    AppendTurn,
    AskPeers,
    CallResult,
    CloseConsumer,
    MethodCall,
    NextBatch,
    OpenConsumer,
    PeerReply,
    Refused,
    RequestFailed,
    RevocationList,
    Splitter,
    Stored,
    Tell,
    arguments_of,
    decode_from_worker,
    encode,
    framed,
)
from roomcast.model.errors import LogUnavailable, RoomcastError
from roomcast.model.message import Message

_GIVEN_UP = "The log gave this up, and it may be stored: send it again with the same Idempotency-Key."

logger = logging.getLogger("roomcast.log")


class _Server(Protocol):
    """The log process, as a connection needs it."""

    exchange: WorkerExchange

    @property
    def log(self) -> Log: ...

    def enter(self, connection: WorkerConnection, revoked: RevocationList) -> None: ...

    def leave(self, connection: WorkerConnection) -> None: ...

    def tell_status(self) -> None: ...

    async def tell_revocations(self) -> None: ...

    def encode_messages(self, messages: Sequence[Message]) -> Raw: ...


class WorkerConnection(asyncio.Protocol):
    """The connection of one worker."""

    def __init__(self, server: _Server, worker: int, revoked: RevocationList) -> None:
        """`worker`: its number. `revoked`: the revocations at the time it connects."""
        self.worker = worker
        self._server = server
        self._revoked = revoked
        self._transport: asyncio.Transport | None = None
        self._splitter = Splitter()
        self._out: list[bytes] = []
        self._stored: list[Stored] = []
        self._refused: list[Refused] = []
        """Outcomes of appends in this turn; they are sent after the batches of the same turn."""
        self._flushing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._consumers: dict[int, ConsumerProxy] = {}
        self._handlers: dict[type, Callable[[Any], None]] = {
            AppendTurn: self._append,
            MethodCall: lambda call: self._start(self._call(call)),
            OpenConsumer: self._open_consumer,
            NextBatch: lambda request: self._with_consumer(request.number, ConsumerProxy.request),
            CloseConsumer: lambda request: self._with_consumer(request.number, ConsumerProxy.close),
            Tell: lambda message: server.exchange.tell(self, message),
            AskPeers: lambda question: server.exchange.ask(self, question),
            PeerReply: lambda reply: server.exchange.reply(self, reply),
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio. From now on this worker gets messages, over `transport`."""
        self._transport = cast(asyncio.Transport, transport)
        self._server.enter(self, self._revoked)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio. Handles the frames that `data` completes."""
        for encoded in self._splitter.feed(data):
            frame = decode_from_worker(encoded)
            self._handlers[type(frame)](frame)

    def pause_writing(self) -> None:
        """Called by asyncio when the worker reads too little: nothing more is read from it."""
        if self._transport:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by asyncio when the worker has read enough: reads from it again."""
        if self._transport:
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio. Whatever the `error`: cancels the calls under way, and ends the worker's consumers.
        Appends under way are still stored."""
        self._transport = None
        self._server.leave(self)
        for task in self._tasks:
            task.cancel()
        for proxy in list(self._consumers.values()):
            proxy.close()

    def close(self) -> None:
        """Sends the waiting frames, and closes."""
        if self._transport:
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Closes at once. The worker may connect again."""
        if self._transport:
            self._transport.abort()

    @property
    def unread_bytes(self) -> int:
        """How many bytes wait here because the worker has not read them."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def send(self, frame: Struct) -> None:
        """Sends `frame` at the end of this turn; drops it if the connection is gone."""
        if self._transport:
            self._out.append(framed(frame))
            self._flush_soon()

    def forget(self, number: int) -> None:
        """Notes that the consumer with this `number` has ended."""
        self._consumers.pop(number, None)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._stored or self._refused:
            self._out.append(framed(AppendOutcomes(self._stored, self._refused)))
            self._stored, self._refused = [], []
            self._server.tell_status()
        if self._transport and self._out:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # Appends

    def _append(self, turn: AppendTurn) -> None:
        for number, (drafts, idempotency) in enumerate(turn.requests, turn.first):
            answer = self._server.log.append(drafts, idempotency)
            answer.add_done_callback(partial(self._note_outcome, number))

    def _note_outcome(self, number: int, answer: asyncio.Future[Appended]) -> None:
        error = LogUnavailable(_GIVEN_UP) if answer.cancelled() else answer.exception()
        if error is not None:
            self._refused.append((number, *encode_error(error)))
        else:
            messages, repeated = answer.result()
            seq, stored_at = (messages[0].seq, messages[0].stored_at) if messages else (0, 0)
            self._stored.append((number, seq, stored_at, [message.prev for message in messages], repeated))
        self._flush_soon()

    # Calls

    async def _call(self, call: MethodCall) -> None:
        try:
            value = await self._result(call)
        except Exception as error:
            if not isinstance(error, RoomcastError):
                logger.exception("%s failed", call.method)
            self.send(RequestFailed(call.number, *encode_error(error)))
        else:
            self.send(CallResult(call.number, Raw(encode(value))))

    async def _result(self, call: MethodCall) -> Any:
        log, arguments = self._server.log, arguments_of[call.method](call.arguments)
        if call.method == "revoke":
            await log.revoke(*arguments)
            await self._server.tell_revocations()  # before the answer to the caller
            return None
        if call.method == "set_rules":
            log.prepare_rules(*arguments)()
            self._server.tell_status()
            return None
        return await getattr(log, call.method)(*arguments)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Consumers

    def _open_consumer(self, request: OpenConsumer) -> None:
        consumer = self._server.log.consumer(request.name, request.after)
        proxy = ConsumerProxy(self, self._server.encode_messages, request.number, consumer)
        self._consumers[request.number] = proxy
        self._start(proxy.run())

    def _with_consumer(self, number: int, action: Callable[[ConsumerProxy], None]) -> None:
        if proxy := self._consumers.get(number):
            action(proxy)
