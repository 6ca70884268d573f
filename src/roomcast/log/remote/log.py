"""The log of another process, over a socket: the log that a worker of `roomcast serve --workers` uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from roomcast.log.append_queue import AppendRequest
from roomcast.log.base import Appended, Bounds, Idempotency, Page, RoomSort, RoomStats
from roomcast.log.positions import positions
from roomcast.log.remote.appends import AWAY, Appends
from roomcast.log.remote.calls import Calls
from roomcast.log.remote.consumer import RemoteConsumer
from roomcast.log.remote.errors import decode_error
from roomcast.log.remote.frames import (
    AppendOutcomes,
    CallResult,
    ConsumerBatch,
    ConsumerEnded,
    FromLog,
    FromWorker,
    LogStatus,
    OpenConsumer,
    RequestFailed,
    RevocationList,
)
from roomcast.log.remote.link import Link
from roomcast.model.errors import LogUnavailable, OutcomeUnknown
from roomcast.model.message import Draft, Message
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection

_OPEN_SECONDS = 2.0
"""Seconds to wait for the log process's status; after that the log is away."""
_UNKNOWN = (
    "The connection to the log process was lost, and this may be stored: send it again with the same "
    "Idempotency-Key."
)
_CLOSED = "The log is closed."


class RemoteLog:
    """Sends appends and calls to the log process, and receives batches from it."""

    def __init__(self, link: Link) -> None:
        self.name = ""
        self.epoch = ""
        self.retention = Retention()
        self.unwritable = ""
        self._link = link
        self._numbers = count(1)
        """Numbers for both calls and consumers: failures of both come in frames of one kind."""
        self._appends = Appends(link, self.why_away)
        self._calls = Calls(link, self.why_away, lambda: next(self._numbers))
        self._consumers: dict[int, RemoteConsumer] = {}
        self._revocations: Sequence[Revocation] = ()
        self._opened = asyncio.Event()
        self._closed = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            LogStatus: self._note_status,
            RevocationList: self._note_revocations,
            AppendOutcomes: self._appends.resolve,
            CallResult: lambda result: self._calls.resolve(result.number, result.value),
            RequestFailed: self._fail,
            ConsumerBatch: lambda batch: self._with_consumer(batch.number, lambda one: one.give(batch)),
            ConsumerEnded: lambda ended: self._with_consumer(ended.number, RemoteConsumer.end),
        }
        self.handles: Sequence[type[FromLog]] = list(self._handlers)
        link.add(self)

    async def opened(self) -> RemoteLog:
        """Waits for the log process's status, and returns this log. If none comes in `_OPEN_SECONDS`, the log
        counts as away."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_OPEN_SECONDS):
                await self._opened.wait()
        return self

    # The methods of a log

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> asyncio.Future[Appended]:
        """As in `Log`, for `drafts` and `idempotency`. Fails with `OutcomeUnknown` if the log process ends before
        it has answered."""
        return self._appends.add(AppendRequest(drafts, idempotency))

    async def read(self, selection: Selection, after: int, limit: int, before: int | None = None) -> Page:
        """As in `Log`: at most `limit` messages of `selection` with `after` < seq < `before`."""
        page: Page = await self._calls.call("read", selection, after, limit, before)
        return page

    async def get(self, seq: int) -> Message | None:
        """As in `Log`: the message with this `seq`, unless it is gone."""
        message: Message | None = await self._calls.call("get", seq)
        return message

    async def seek_newest(self, selection: Selection, count: int, before: int | None = None) -> int:
        """As in `Log`: the position of the newest `count` messages of `selection` below the seq `before`."""
        return int(await self._calls.call("seek_newest", selection, count, before))

    async def seek_time(self, selection: Selection, since: int) -> int:
        """As in `Log`: the position of the messages of `selection` stored at or after `since` (ms since 1970)."""
        return int(await self._calls.call("seek_time", selection, since))

    async def bounds(self) -> Bounds:
        """As in `Log`: how far the log reaches now."""
        bounds: Bounds = await self._calls.call("bounds")
        return bounds

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        """As in `Log`: at most `limit` rooms whose names begin with `prefix`, in the order `sort`, after
        `after`."""
        rooms: Sequence[RoomStats] = await self._calls.call("rooms", prefix, sort, after, limit)
        return rooms

    async def delete(self, seq: int) -> bool:
        """As in `Log`: deletes the message with this `seq`; False if it is not retained."""
        return bool(await self._calls.call("delete", seq))

    async def delete_room(self, room: str) -> None:
        """As in `Log`: deletes the messages that `room` has when the log process gets the call."""
        await self._calls.call("delete_room", room)

    async def revoke(self, revocation: Revocation) -> None:
        """As in `Log`: keeps `revocation`. When this returns, it is on its way to all workers."""
        await self._calls.call("revoke", revocation)

    async def revocations(self) -> Sequence[Revocation]:
        """As in `Log`: those that the log process sent last. Raises `LogUnavailable` if it is away."""
        if why := self.why_away():
            raise LogUnavailable(why)
        return self._revocations

    def prepare_rules(self, retention: Retention) -> Callable[[], None]:
        """As in `Log`, but checks nothing: the log process takes the rules of `retention` as they are. While that
        process is away they are dropped: the supervisor starts the next one with the rules in force."""

        def apply() -> None:
            self._calls.send("set_rules", retention)

        return apply

    def consumer(self, name: str, after: int) -> RemoteConsumer:
        """As in `Log`: a consumer named `name` of the messages after the seq `after`. It fails or ends at once if
        the log is away or closed, and fails when the log process ends."""
        number = next(self._numbers)
        consumer = RemoteConsumer(self, number, name, after)
        if self._closed:
            consumer.end()
        elif why := self.why_away():
            consumer.fail(LogUnavailable(why))
        else:
            self._consumers[number] = consumer
            self.send(OpenConsumer(number, name, after))
        return consumer

    def positions(self) -> Mapping[str, int]:
        """As in `Log`: the last delivered seq of each consumer of this worker."""
        return positions(self._consumers.values())

    async def close(self) -> None:
        """Ends all consumers, and waits for appends under way. The log process keeps running."""
        self._closed = True
        await self._appends.end()
        for consumer in list(self._consumers.values()):
            consumer.end()
        self._calls.fail_all(_CLOSED)
        self._link.close()

    # Used by its parts: consumers, appends and calls

    def send(self, frame: FromWorker) -> None:
        """Sends `frame` to the log process at the end of this turn; drops it if that process is away."""
        self._link.send(frame)

    def forget(self, number: int) -> None:
        """Notes that the consumer with this `number` has ended."""
        self._consumers.pop(number, None)

    def why_away(self) -> str:
        """Why the log does not answer now, as a sentence; empty if it does."""
        if self._closed:
            return _CLOSED
        return "" if self._opened.is_set() else AWAY

    # The connection

    def handle(self, frame: Any) -> None:
        """Handles `frame`, which the log process has sent."""
        self._handlers[type(frame)](frame)

    def disconnected(self) -> None:
        """Notes that the connection to the log process is gone: fails all that is under way. Appends may be
        stored."""
        self._opened.clear()
        self._appends.fail(OutcomeUnknown, _UNKNOWN)
        self._calls.fail_all(AWAY)
        consumers, self._consumers = list(self._consumers.values()), {}
        for consumer in consumers:
            consumer.fail(LogUnavailable(AWAY))

    def _note_status(self, status: LogStatus) -> None:
        self.name, self.epoch = status.name, status.epoch
        self.retention, self.unwritable = status.retention, status.unwritable
        self._opened.set()

    def _note_revocations(self, frame: RevocationList) -> None:
        self._revocations = frame.revocations

    def _fail(self, failed: RequestFailed) -> None:
        error = decode_error(failed.kind, failed.detail)
        self._calls.fail(failed.number, error)
        self._with_consumer(failed.number, lambda one: one.fail(error))

    def _with_consumer(self, number: int, action: Callable[[RemoteConsumer], None]) -> None:
        if consumer := self._consumers.get(number):  # it may have ended meanwhile
            action(consumer)
