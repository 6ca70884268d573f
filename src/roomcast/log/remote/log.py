"""The log of another process, over a socket: the log that a worker of `roomcast serve --workers` uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Raw

from roomcast.log.append_queue import PENDING_APPENDS, PENDING_BYTES, Pending, Request
from roomcast.log.base import Appended, Bounds, Idempotency, Page, RoomSort, RoomStats
from roomcast.log.consumers import positions
from roomcast.log.remote import frames
from roomcast.log.remote.consumer import RemoteConsumer
from roomcast.log.remote.errors import error_of
from roomcast.log.remote.frames import (
    Append,
    Call,
    Failed,
    FromLog,
    FromWorker,
    Opened,
    Result,
    Revoked,
    Stored,
    encode,
    result_of,
)
from roomcast.log.remote.link import Link
from roomcast.model.errors import LogUnavailable, OutcomeUnknown, RoomcastError
from roomcast.model.message import Draft, Message
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection

_CALLS_AT_ONCE = 16
"""The most calls of one worker that the log process handles at once. Others wait here, so that no worker's reads
delay another's."""
_CALL_SECONDS = 5.0
"""Seconds after which a call has failed: the log process hangs."""
_OPEN_SECONDS = 2.0
"""Seconds that the log process's first frame may take; after that the log is away."""
_AWAY = "The log process is away; it is started again."
_UNKNOWN = (
    "The log process has ended meanwhile, and this may be stored: send it again with the same Idempotency-Key."
)
_CLOSED = "The log is closed."


class RemoteLog:
    """Sends the appends of a turn together, calls one by one, and receives batches as they come."""

    def __init__(self, link: Link) -> None:
        self.name = ""
        self.epoch = ""
        self.retention = Retention()
        self.unwritable = ""
        self._link = link
        self._number = 0
        """The last number that an append, a call or a consumer was given."""
        self._turn: list[Pending] = []
        """Appends of this turn of the loop."""
        self._appends: dict[int, Pending] = {}
        """Appends that were sent and not answered, in order."""
        self._bytes = 0
        """The bodies of all appends that are not answered."""
        self._calls: dict[int, asyncio.Future[Raw]] = {}
        self._slots = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._consumers: dict[int, RemoteConsumer] = {}
        self._revocations: Sequence[Revocation] = ()
        self._opened = asyncio.Event()
        self._idle: asyncio.Future[None] | None = None
        """Set when the log closes; done when no append is under way."""
        self._hearing: dict[type, Callable[[Any], None]] = {
            Opened: self._open,
            frames.Appended: self._appended,
            Revoked: self._revoked,
            Result: self._called,
            Failed: self._failed,
            frames.Given: lambda given: self._consumer(given.number, lambda one: one.give(given)),
            frames.Ended: lambda ended: self._consumer(ended.number, RemoteConsumer.end),
        }
        self.hears: Sequence[type[FromLog]] = list(self._hearing)
        link.add(self)

    async def opened(self) -> RemoteLog:
        """Waits for the log process's first frame. If it does not come, this log is away."""
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            return self
        return self

    # Appends

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> asyncio.Future[Appended]:
        pending = Pending.of(Request(drafts, idempotency))
        if why := self._refusal(pending):
            pending.resolve(LogUnavailable(why))
            return pending.answer
        if not self._turn:
            asyncio.get_running_loop().call_soon(self._send_turn)
        self._turn.append(pending)
        self._bytes += pending.bytes
        return pending.answer

    def _refusal(self, pending: Pending) -> str:
        """Why an append is refused; empty if it is accepted."""
        if self._idle:
            return _CLOSED
        if not self._opened.is_set():
            return _AWAY
        if len(self._appends) + len(self._turn) >= PENDING_APPENDS or self._bytes + pending.bytes > PENDING_BYTES:
            return "The log is behind: the log process takes less than what is published."
        return ""

    def _send_turn(self) -> None:
        turn, self._turn = self._turn, []
        first = self._number + 1
        for pending in turn:
            self._number += 1
            self._appends[self._number] = pending
        if not self._link.up:
            self._fail_appends(LogUnavailable, _AWAY)
        elif turn:
            self._link.send(Append(first, [(list(one.request.drafts), one.request.idempotency) for one in turn]))

    def _appended(self, frame: frames.Appended) -> None:
        for stored in frame.stored:
            pending = self._take(stored[0])
            pending.resolve(_outcome(pending.request.drafts, stored))
        for number, kind, detail in frame.refused:
            self._take(number).resolve(error_of(kind, detail))
        self._note_idle()

    def _take(self, number: int) -> Pending:
        pending = self._appends.pop(number)
        self._bytes -= pending.bytes
        return pending

    def _fail_appends(self, error: type[LogUnavailable], why: str) -> None:
        for number in list(self._appends):
            self._take(number).resolve(error(why))
        self._note_idle()

    def _note_idle(self) -> None:
        if self._idle and not self._idle.done() and not self._appends and not self._turn:
            self._idle.set_result(None)

    # Calls

    async def read(self, selection: Selection, after: int, limit: int, before: int | None = None) -> Page:
        page: Page = await self._call("read", selection, after, limit, before)
        return page

    async def get(self, seq: int) -> Message | None:
        message: Message | None = await self._call("get", seq)
        return message

    async def seek_newest(self, selection: Selection, count: int, before: int | None = None) -> int:
        return int(await self._call("seek_newest", selection, count, before))

    async def seek_time(self, selection: Selection, since: int) -> int:
        return int(await self._call("seek_time", selection, since))

    async def bounds(self) -> Bounds:
        bounds: Bounds = await self._call("bounds")
        return bounds

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        rooms: Sequence[RoomStats] = await self._call("rooms", prefix, sort, after, limit)
        return rooms

    async def delete(self, seq: int) -> bool:
        return bool(await self._call("delete", seq))

    async def delete_room(self, room: str) -> None:
        await self._call("delete_room", room)

    async def revoke(self, revocation: Revocation) -> None:
        await self._call("revoke", revocation)

    async def revocations(self) -> Sequence[Revocation]:
        if why := self.away():
            raise LogUnavailable(why)
        return self._revocations

    def keep(self, retention: Retention) -> Callable[[], None]:
        def keep() -> None:
            self._number += 1
            self._link.send(Call(self._number, "keep", Raw(encode((retention,)))))

        return keep

    async def _call(self, method: str, *arguments: Any) -> Any:
        """Raises `LogUnavailable` if the log process is away or takes too long, and what the call raised."""
        try:
            async with asyncio.timeout(_CALL_SECONDS), self._slots:
                return result_of[method](await self._answer(Call(0, method, Raw(encode(arguments)))))
        except TimeoutError:
            raise LogUnavailable("The log process does not answer.") from None

    async def _answer(self, call: Call) -> Raw:
        if why := self.away():
            raise LogUnavailable(why)
        self._number += 1
        number = self._number
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        self._link.send(Call(number, call.method, call.arguments))
        try:
            return await answer
        finally:
            self._calls.pop(number, None)

    def _called(self, result: Result) -> None:
        answer = self._calls.pop(result.number, None)
        if answer and not answer.done():
            answer.set_result(result.value)

    def _failed(self, failed: Failed) -> None:
        error = error_of(failed.kind, failed.detail)
        answer = self._calls.pop(failed.number, None)
        if answer and not answer.done():
            answer.set_exception(error)
        self._consumer(failed.number, lambda one: one.fail(error))

    # Consumers

    def consumer(self, name: str, after: int, *, holds: bool = True) -> RemoteConsumer:
        self._number += 1
        consumer = RemoteConsumer(self, self._number, name, after, holds=holds)
        if self._idle:
            consumer.end()
        elif why := self.away():
            consumer.fail(LogUnavailable(why))
        else:
            self._consumers[self._number] = consumer
        return consumer

    def positions(self) -> Mapping[str, int]:
        return positions(self._consumers.values())

    def send(self, frame: FromWorker) -> None:
        self._link.send(frame)

    def forget(self, number: int) -> None:
        self._consumers.pop(number, None)

    def _consumer(self, number: int, then: Callable[[RemoteConsumer], None]) -> None:
        if consumer := self._consumers.get(number):  # it may have ended meanwhile
            then(consumer)

    # The connection

    def hear(self, frame: Any) -> None:
        self._hearing[type(frame)](frame)

    def away(self) -> str:
        if self._idle:
            return _CLOSED
        return "" if self._opened.is_set() else _AWAY

    def lost(self) -> None:
        self._opened.clear()
        self._fail_appends(OutcomeUnknown, _UNKNOWN)
        calls, self._calls = list(self._calls.values()), {}
        for answer in calls:
            if not answer.done():
                answer.set_exception(LogUnavailable(_AWAY))
        consumers, self._consumers = list(self._consumers.values()), {}
        for consumer in consumers:
            consumer.fail(LogUnavailable(_AWAY))

    def _open(self, opened: Opened) -> None:
        self.name, self.epoch = opened.name, opened.epoch
        self.retention, self.unwritable = opened.retention, opened.unwritable
        self._opened.set()

    def _revoked(self, revoked: Revoked) -> None:
        self._revocations = revoked.revocations

    async def close(self) -> None:
        """Ends all consumers, and waits for appends under way. The log process goes on."""
        if self._idle is None:
            self._idle = asyncio.get_running_loop().create_future()
            self._note_idle()
        await asyncio.shield(self._idle)
        for consumer in list(self._consumers.values()):
            consumer.end()
        error: RoomcastError = LogUnavailable(_CLOSED)
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(error)
        self._link.close()


def _outcome(drafts: Sequence[Draft], stored: Stored) -> Appended:
    _, first, stored_at, prevs, repeated = stored
    messages = [
        Message(seq, room, type_, stored_at, prev, body)
        for seq, (room, type_, body), prev in zip(range(first, first + len(prevs)), drafts, prevs, strict=True)
    ]
    return Appended(messages, repeated)
