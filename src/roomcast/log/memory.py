"""The log in memory: for tests, for trying roomcast out, and for whoever needs no history after a restart.

It keeps every promise of `base` but the one about kill -9. Nothing here awaits, so each method is one moment.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Iterable, Sequence
from heapq import merge
from itertools import islice, takewhile

from roomcast.log.base import Appended, Batch, Bounds, Idempotency, Page, RoomSort, RoomStats, Start
from roomcast.log.clock import Clock
from roomcast.log.consumers import Consumers
from roomcast.log.room_list import RoomList
from roomcast.log.sequencer import Kept, Key, Sequencer
from roomcast.log.trimming import Trimmed, losses_between, losses_since, watermark
from roomcast.model.errors import LogUnavailable, RoomcastError
from roomcast.model.message import Draft, Message, new_epoch
from roomcast.model.retention import Retention

PAGE_BYTES = 256 * 1024
EMPTY_ROOMS = 10_000
_FETCH_MESSAGES = 1_000
_TRIMMED_A_TURN = 500
"""A large message may take the place of 10,000 small ones."""
_NOT_TRIMMED = Trimmed(0, 0, 0)


async def open_log(
    url: str, rest: str, *, retention: Retention, empty_rooms: int = EMPTY_ROOMS, **durability: object
) -> MemoryLog:
    """A new, empty log; durability means nothing here."""
    return MemoryLog(retention, name=url, empty_rooms=empty_rooms)


class RoomIndex:
    """One room: the seqs of its retained messages, oldest first, and how far it is trimmed."""

    __slots__ = ("_lost", "_seqs", "_start", "_trimmed", "_trimmed_at", "newest", "newest_at")

    def __init__(self, trimmed: Trimmed) -> None:
        self.newest, self.newest_at, _ = trimmed
        self._trimmed, self._trimmed_at, self._lost = trimmed
        self._seqs: list[int] = []
        self._start = 0
        """Where the retained ones begin in `_seqs`: cutting the front off one by one would move all others."""

    @property
    def trimmed(self) -> Trimmed:
        return Trimmed(self._trimmed, self._trimmed_at, self._lost)

    def __len__(self) -> int:
        return len(self._seqs) - self._start

    def add(self, message: Message) -> None:
        self._seqs.append(message.seq)
        self.newest, self.newest_at = message.seq, message.stored_at

    def trim(self, message: Message) -> bool:
        """Takes its oldest message off; whether it was the last one."""
        self._trimmed, self._trimmed_at = message.seq, message.stored_at
        self._lost += 1
        self._start += 1
        retained = len(self._seqs) - self._start
        if self._start > retained:
            del self._seqs[: self._start]
            self._start = 0
        return not retained

    def ascending(self, after: int) -> Iterable[int]:
        return islice(self._seqs, bisect_right(self._seqs, after, lo=self._start), None)

    def count(self, first: int, last: int) -> int:
        """How many of its messages lie between, both ends included."""
        return bisect_right(self._seqs, last, lo=self._start) - bisect_left(self._seqs, first, lo=self._start)


class MemoryLog:
    """The messages by seq, and an index of each room."""

    def __init__(self, retention: Retention, *, name: str = "memory:", empty_rooms: int = EMPTY_ROOMS) -> None:
        self.name = name
        self.epoch = new_epoch()
        self.retention = retention
        self.unwritable = ""
        self._empty_rooms = empty_rooms
        self._messages: dict[int, Message] = {}
        self._rooms: dict[str, RoomIndex] = {}
        self._listed = RoomList()
        """The rooms that have messages."""
        self._empty: dict[str, None] = {}
        """Rooms without messages; in order of their newest, as trimming empties them in that order."""
        self._forgotten = _NOT_TRIMMED
        """What must be taken for the trimming of a room not in `_rooms`."""
        self._keys: dict[Key, Kept] = {}
        self._key_of: dict[int, Key] = {}
        """The key whose first message this seq is."""
        self._newest = 0
        self._newest_at = 0
        self._clock = Clock()
        self._trimmed = 0
        self._bytes = 0
        self._closed = False
        self._feed = Consumers(0, 0, self._fetch, self._trim_and_tell)

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> asyncio.Future[Appended]:
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        try:
            answer.set_result(self._append(drafts, idempotency))
        except RoomcastError as error:
            answer.set_exception(error)
        return answer

    def _append(self, drafts: Sequence[Draft], idempotency: Idempotency | None) -> Appended:
        self._check_open()
        numbering = Sequencer(
            self.retention,
            self._newest,
            self._clock.now(self._newest_at if self._messages else 0),
            self._newest_of,
            self._keys,
            self._load,
        )
        appended = numbering.append(drafts, idempotency)
        if numbering.messages:
            self._store(numbering.messages)
            for new in numbering.new_keys:
                self._key_of[new.kept.first] = (new.scope, new.key)
            self._trim()
            self._feed.push(numbering.messages, self._trimmed)
        return appended

    def _load(self, kept: Kept) -> Sequence[Message]:
        return [self._messages[seq] for seq in range(kept.first, kept.first + kept.size)]

    async def read(self, rooms: frozenset[str], after: int, limit: int, before: int | None = None) -> Page:
        self._check_open()
        end = self._newest if before is None else min(self._newest, max(after, before - 1))
        messages, cut = self._page(rooms, after, limit, end)
        losses = losses_between(rooms, self._trimmings(rooms), self._forgotten, after, before)
        return Page(messages, messages[-1].seq if cut else end, losses)

    async def get(self, seq: int) -> Message | None:
        self._check_open()
        return self._messages.get(seq)

    async def seek_newest(self, rooms: frozenset[str], count: int, before: int | None = None) -> int:
        self._check_open()
        end = self._newest if before is None else min(self._newest, before - 1)
        indexes = self._known(rooms)

        def held_from(seq: int) -> int:
            return sum(index.count(seq, end) for index in indexes)

        wanted = min(count, held_from(1))
        # Searched and not walked: a replay of the newest million must not take longer than one of the newest ten.
        first_too_few = bisect_left(range(1, end + 1), True, key=lambda seq: held_from(seq) < wanted)
        return first_too_few - 1 if wanted else max(end, 0)

    async def seek_time(self, rooms: frozenset[str], since: int) -> Start:
        self._check_open()
        retained = range(self._trimmed + 1, self._newest + 1)
        early = bisect_left(retained, since, key=lambda seq: self._messages[seq].stored_at)
        losses = losses_since(rooms, self._trimmings(rooms), self._forgotten, since)
        return Start(self._trimmed + early, losses)

    def tail(self, after: int) -> AsyncIterator[Batch]:
        return self._feed.open(after)

    async def bounds(self) -> Bounds:
        self._check_open()
        return Bounds(self._trimmed, self._newest, self._bytes)

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        self._check_open()
        return [self._stats(room) for room in islice(self._listed.walk(prefix, sort, after), limit)]

    async def close(self) -> None:
        self._closed = True
        self._feed.end()

    def _stats(self, room: str) -> RoomStats:
        index = self._rooms[room]
        return RoomStats(room, len(index), index.newest, index.newest_at)

    def _check_open(self) -> None:
        if self._closed:
            raise LogUnavailable("The log is closed.")

    def _store(self, messages: Sequence[Message]) -> None:
        for message in messages:
            index = self._rooms.get(message.room)
            if not index:  # no messages, or not even known
                self._empty.pop(message.room, None)
                index = self._rooms.setdefault(message.room, RoomIndex(self._forgotten))
            index.add(message)
            self._listed.note(message.room, message.seq)
            self._bytes += len(message.body)
            self._messages[message.seq] = message
        self._newest, self._newest_at = message.seq, message.stored_at

    def _trim(self) -> None:
        """The oldest first, down to the cap; never what the tail was not yet asked past."""
        floor = self._feed.floor
        end = self._newest if floor is None else min(floor, self._newest)
        most_messages, most_bytes = self.retention
        messages = self._messages
        last = self._trimmed + _TRIMMED_A_TURN
        while (len(messages) > most_messages or self._bytes > most_bytes) and self._trimmed < end:
            if self._trimmed == last:
                asyncio.get_running_loop().call_soon(self._trim_and_tell)
                return
            self._trim_one(messages.pop(self._trimmed + 1))

    def _trim_one(self, message: Message) -> None:
        self._trimmed = message.seq
        self._bytes -= len(message.body)
        if self._key_of and (key := self._key_of.pop(message.seq, None)):
            del self._keys[key]
        if self._rooms[message.room].trim(message):
            self._listed.drop(message.room)
            self._empty[message.room] = None
            self._forget()

    def _forget(self) -> None:
        """Without a bound, every room ever used would be remembered: the longest empty ones go."""
        while len(self._empty) > self._empty_rooms:
            room = next(iter(self._empty))
            del self._empty[room]
            index = self._rooms.pop(room)
            self._forgotten = watermark(index.newest, index.newest_at)

    def _trim_and_tell(self) -> None:
        before = self._trimmed
        self._trim()
        if self._trimmed > before:
            self._feed.push((), self._trimmed)

    def _page(self, rooms: frozenset[str], after: int, limit: int, end: int) -> tuple[list[Message], bool]:
        """The messages, and whether there may be more."""
        seqs = merge(*(index.ascending(after) for index in self._known(rooms)))
        messages: list[Message] = []
        size = 0
        for seq in takewhile(lambda seq: seq <= end, seqs):
            messages.append(self._messages[seq])
            size += len(messages[-1].body)
            if len(messages) >= limit or size >= PAGE_BYTES:
                return messages, True
        return messages, False

    async def _fetch(self, after: int) -> Sequence[Message]:
        end = min(self._newest, after + _FETCH_MESSAGES)
        return [self._messages[seq] for seq in range(after + 1, end + 1)]

    def _known(self, rooms: frozenset[str]) -> list[RoomIndex]:
        return [self._rooms[room] for room in rooms if room in self._rooms]

    def _newest_of(self, room: str) -> int:
        index = self._rooms.get(room)
        return self._forgotten.seq if index is None else index.newest

    def _trimmings(self, rooms: frozenset[str]) -> dict[str, Trimmed]:
        return {room: self._rooms[room].trimmed for room in rooms if room in self._rooms}
