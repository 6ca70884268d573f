"""A worker's appends on their way to the log process. The appends of one turn of the loop go out in one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

from roomcast.log.append_queue import PENDING_APPENDS, PENDING_BYTES, AppendRequest, PendingAppend
from roomcast.log.base import Appended
from roomcast.log.remote.errors import decode_error
from roomcast.log.remote.frames import AppendOutcomes, AppendTurn, Stored
from roomcast.log.remote.link import Link
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import Draft, Message

AWAY = "The log process is away; it is started again."
_BEHIND = "The log is behind: the log process takes less than what is published."


class Appends:
    """The appends of one worker that are not answered yet. Bounded."""

    def __init__(self, link: Link, why_away: Callable[[], str]) -> None:
        """`why_away` returns why the log does not answer now; empty if it does."""
        self._link = link
        self._why_away = why_away
        self._numbers = count(1)
        self._turn: list[PendingAppend] = []
        """The appends of this turn of the loop."""
        self._sent: dict[int, PendingAppend] = {}
        """The appends that were sent, by number."""
        self._bytes = 0
        """The total size of the bodies of all appends that are not answered."""
        self._idle: asyncio.Future[None] | None = None
        """Set when the log closes; done when no append is left."""

    def add(self, request: AppendRequest) -> asyncio.Future[Appended]:
        """Sends `request` at the end of this turn. The future fails with `LogUnavailable` at once if the log is
        away or too many appends are waiting."""
        pending = PendingAppend.for_request(request)
        if why := self._why_away() or self._is_full(pending):
            pending.resolve(LogUnavailable(why))
            return pending.answer
        if not self._turn:
            asyncio.get_running_loop().call_soon(self._send_turn)
        self._turn.append(pending)
        self._bytes += pending.bytes
        return pending.answer

    def resolve(self, frame: AppendOutcomes) -> None:
        """Answers the appends whose outcomes are in `frame`. Each of them was sent and is not answered yet."""
        for stored in frame.stored:
            pending = self._take(stored[0])
            pending.resolve(_appended(pending.request.drafts, stored))
        for number, kind, detail in frame.refused:
            self._take(number).resolve(decode_error(kind, detail))
        self._note_idle()

    def fail(self, error: type[LogUnavailable], why: str) -> None:
        """Answers all appends that were sent with an `error` whose text is `why`."""
        for number in list(self._sent):
            self._take(number).resolve(error(why))
        self._note_idle()

    async def end(self) -> None:
        """Waits until no append is left. May be called more than once."""
        if self._idle is None:
            self._idle = asyncio.get_running_loop().create_future()
            self._note_idle()
        await asyncio.shield(self._idle)

    def _is_full(self, pending: PendingAppend) -> str:
        full = len(self._sent) + len(self._turn) >= PENDING_APPENDS or self._bytes + pending.bytes > PENDING_BYTES
        return _BEHIND if full else ""

    def _send_turn(self) -> None:
        turn, self._turn = self._turn, []
        numbered = {next(self._numbers): pending for pending in turn}
        self._sent |= numbered
        if not self._link.is_connected:
            self.fail(LogUnavailable, AWAY)
        else:
            requests = [(list(one.request.drafts), one.request.idempotency) for one in turn]
            self._link.send(AppendTurn(next(iter(numbered)), requests))

    def _take(self, number: int) -> PendingAppend:
        pending = self._sent.pop(number)
        self._bytes -= pending.bytes
        return pending

    def _note_idle(self) -> None:
        if self._idle and not self._idle.done() and not self._sent and not self._turn:
            self._idle.set_result(None)


def _appended(drafts: Sequence[Draft], stored: Stored) -> Appended:
    _, first, stored_at, prevs, repeated = stored
    messages = [
        Message(seq, room, type_, stored_at, prev, body)
        for seq, (room, type_, body), prev in zip(range(first, first + len(prevs)), drafts, prevs, strict=True)
    ]
    return Appended(messages, repeated)
