"""The log in memory: for tests, for trying roomcast out, and for users who need no history after a restart.

It keeps every promise of `base`, except that it does not survive kill -9. Only searches over many rooms yield to
other tasks; even then a page is that of one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice

from roomcast.log.base import Appended, Bounds, Idempotency, Page, RoomSort, RoomStats
from roomcast.log.clock import Clock
from roomcast.log.consumers import Consumers
from roomcast.log.local import LocalLog
from roomcast.log.memory.content import Content
from roomcast.log.memory.reader import MemoryReader
from roomcast.log.memory.trimmer import MemoryTrimmer
from roomcast.log.revoked import KeptRevocations
from roomcast.log.sequencer import Sequencer
from roomcast.log.trimming import EMPTY_ROOMS
from roomcast.model.errors import RoomcastError
from roomcast.model.message import Draft, Message, new_epoch
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection


async def open_log(
    url: str, path: str, *, retention: Retention, empty_rooms: int = EMPTY_ROOMS, **durability: object
) -> MemoryLog:
    """A new, empty log named `url`, with the caps and rules of `retention`. `empty_rooms`: how many rooms without
    messages it remembers. It ignores `path` and all options for `durability`: it has no file."""
    return MemoryLog(retention, name=url, empty_rooms=empty_rooms)


class MemoryLog(LocalLog):
    """A log in memory: its content, a reader, a trimmer, and the consumers."""

    def __init__(self, retention: Retention, *, name: str = "memory:", empty_rooms: int = EMPTY_ROOMS) -> None:
        """`empty_rooms`: how many rooms without messages are remembered."""
        super().__init__(name, Consumers(0, 0, self._fetch, self._delivered))
        self.epoch = new_epoch()
        self.unwritable = ""
        self._content = Content(retention, empty_rooms)
        self._reader = MemoryReader(self._content)
        self._trimmer = MemoryTrimmer(self._content, self._consumers)
        self._clock = Clock()
        self._revocations = KeptRevocations()

    @property
    def retention(self) -> Retention:
        """The caps and rules in force."""
        return self._content.retention

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> asyncio.Future[Appended]:
        """As in `Log`: stores `drafts`, or repeats what `idempotency` stored. The future is done at once."""
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        try:
            answer.set_result(self._append(drafts, idempotency))
        except RoomcastError as error:
            answer.set_exception(error)
        return answer

    def _append(self, drafts: Sequence[Draft], idempotency: Idempotency | None) -> Appended:
        self._check_open()
        content = self._content
        now = self._clock.now(content.newest_at if content.messages else 0)
        if content.newest_at > now:  # of messages that are gone, from a clock that was ahead
            content.keys.clamp_times(now)
        if content.keys.gone:
            content.keys.expire(idempotency, now)
        sequencer = Sequencer(
            content.retention, content.newest, now, content.newest_of, content.keys.known, content.rules
        )
        appended = sequencer.append(drafts, idempotency)
        if sequencer.messages:
            content.store(sequencer.messages)
            content.keys.add(sequencer.new_keys)
            cuts = self._trimmer.trim()
            self._consumers.push(sequencer.messages, content.trimmed, cuts)
            if self._trimmer.must_begin:
                self._trimmer.begin()
        return appended

    async def read(self, selection: Selection, after: int, limit: int, before: int | None = None) -> Page:
        """As in `Log`: at most `limit` messages of `selection` with `after` < seq < `before`."""
        self._check_open()
        return await self._reader.page(selection, after, limit, before)

    async def get(self, seq: int) -> Message | None:
        """As in `Log`: the message with this `seq`, unless it is gone. Does not yield to other tasks."""
        self._check_open()
        return self._reader.get(seq)

    async def seek_newest(self, selection: Selection, count: int, before: int | None = None) -> int:
        """As in `Log`: the position of the newest `count` messages of `selection` below the seq `before`."""
        self._check_open()
        return await self._reader.seek_newest(selection, count, before)

    async def seek_time(self, selection: Selection, since: int) -> int:
        """As in `Log`: the position of the messages of `selection` stored at or after `since` (ms since 1970)."""
        self._check_open()
        return self._reader.seek_time(selection, since)

    async def bounds(self) -> Bounds:
        """As in `Log`: how far the log reaches now."""
        self._check_open()
        content = self._content
        return Bounds(content.trimmed, content.newest, content.bytes, len(content.messages), content.oldest_at)

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        """As in `Log`: at most `limit` rooms whose names begin with `prefix`, in the order `sort`, after
        `after`."""
        self._check_open()
        names = islice(self._content.listed.walk(prefix, sort, after), limit)
        return [self._content.stats(room) for room in names]

    async def delete(self, seq: int) -> bool:
        """As in `Log`: deletes the message with this `seq`, and tells the consumers at once."""
        message = await self.get(seq)
        if message is None:
            return False
        self._consumers.push((), self._content.trimmed, [self._content.delete(message)])
        return True

    async def delete_room(self, room: str) -> None:
        """As in `Log`: deletes the messages of `room` in one step, and tells the consumers at once."""
        self._check_open()
        if cut := self._content.delete_room(room):
            self._consumers.push((), self._content.trimmed, [cut])

    async def revoke(self, revocation: Revocation) -> None:
        """As in `Log`: keeps `revocation`, but not after a restart."""
        self._check_open()
        self._revocations.check(revocation)
        self._revocations.add(revocation)

    async def revocations(self) -> Sequence[Revocation]:
        """As in `Log`: the same object as long as nothing has changed."""
        self._check_open()
        return self._revocations.rows

    def prepare_rules(self, retention: Retention) -> Callable[[], None]:
        """As in `Log`: a function that applies the rules of `retention`. All rules are offered."""
        return lambda: self._trimmer.apply(retention)

    async def _close(self) -> None:
        self._trimmer.stop()
        self._consumers.end()

    async def _fetch(self, after: int) -> Sequence[Message]:
        return self._reader.fetch(after)

    def _delivered(self) -> None:
        self._trimmer.trim_and_tell()
