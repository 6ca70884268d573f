"""The log process's side of a worker's consumer. Sends one batch per request, and none without a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Raw, Struct

from roomcast.log.base import Batch, LogConsumer
from roomcast.log.remote.errors import encode_error
from roomcast.log.remote.frames import ConsumerBatch, ConsumerEnded, RequestFailed
from roomcast.model.errors import RoomcastError
from roomcast.model.message import Message

logger = logging.getLogger("roomcast.log")


class _Connection(Protocol):
    """The worker's connection, as a proxy needs it."""

    def send(self, frame: Struct) -> None: ...

    def forget(self, number: int) -> None: ...


class ConsumerProxy:
    """One consumer of the log, on behalf of a worker."""

    def __init__(
        self, worker: _Connection, encode: Callable[[Sequence[Message]], Raw], number: int, consumer: LogConsumer
    ) -> None:
        """`encode` encodes messages, once for all workers. `number`: the consumer's number at the worker."""
        self._worker = worker
        self._encode = encode
        self._number = number
        self._consumer = consumer
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Notes that the worker has delivered the last batch, and wants the next one."""
        self._requested.set()

    def close(self) -> None:
        """Ends the consumer: the worker wants no more batches."""
        self._worker.forget(self._number)
        closing = asyncio.ensure_future(self._consumer.aclose())
        closing.add_done_callback(lambda _: self._requested.set())

    async def run(self) -> None:
        """Sends batches until the consumer ends or fails. If it fails, the worker opens another one."""
        try:
            while True:
                await self._requested.wait()
                self._requested.clear()
                self._worker.send(self._frame(await anext(self._consumer)))
        except StopAsyncIteration:
            self._worker.send(ConsumerEnded(self._number))
        except Exception as error:
            if not isinstance(error, RoomcastError):
                logger.exception("the consumer of a worker failed")
            self._worker.send(RequestFailed(self._number, *encode_error(error)))
            await self._consumer.aclose()
        finally:
            self._worker.forget(self._number)

    def _frame(self, batch: Batch) -> ConsumerBatch:
        messages = self._encode(batch.messages)
        return ConsumerBatch(self._number, messages, batch.trimmed, batch.position, list(batch.cuts), batch.missed)
