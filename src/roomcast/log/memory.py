"""The log in memory: for tests, for trying roomcast out, and for whoever needs no history after a restart.

It keeps every promise of `base` except the one about kill -9. Only searches over many rooms yield to other tasks;
each method still answers for one moment.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from itertools import islice, takewhile

from roomcast.log import clock as machine
from roomcast.log.base import PAGE_BYTES, Appended, Bounds, Idempotency, Loss, Page, RoomSort, RoomStats
from roomcast.log.clock import Clock
from roomcast.log.consumers import Consumers
from roomcast.log.local import LocalLog
from roomcast.log.revoked import Revoked
from roomcast.log.room_index import RoomIndex
from roomcast.log.room_list import RoomList
from roomcast.log.sequencer import GONE_KEYS, KEY_MS, Kept, Key, Sequencer
from roomcast.log.sweep import Sweep
from roomcast.log.trimming import EMPTY_ROOMS, Trimmed, in_order, losses_between, position_before, watermark
from roomcast.model.errors import RoomcastError
from roomcast.model.message import Cut, Draft, Message, new_epoch
from roomcast.model.retention import NO_CAP, Retention, RoomRules
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection
from roomcast.tasks import Turns

TRIM_STEP = 500
"""How far one turn trims, holes and all: 5,000 took 9 ms. A batch trims so many at once, and again in the turns
that follow it."""
SWEEP_ROOMS = 500
"""Rooms that one step of a walk looks at."""
_FETCH_MESSAGES = 1_000
AT_ONCE = 256
"""The number of messages or rooms to look at before yielding to the loop."""
NOTHING_CUT: Sequence[Cut] = ()
_NOT_TRIMMED = Trimmed(0, 0, 0)


async def open_log(
    url: str, rest: str, *, retention: Retention, empty_rooms: int = EMPTY_ROOMS, **durability: object
) -> MemoryLog:
    """A new, empty log; durability means nothing here."""
    return MemoryLog(retention, name=url, empty_rooms=empty_rooms)


class MemoryLog(LocalLog):
    """The messages by seq, and an index of each room."""

    def __init__(self, retention: Retention, *, name: str = "memory:", empty_rooms: int = EMPTY_ROOMS) -> None:
        super().__init__(name, Consumers(0, 0, self._fetch, self._trim_and_tell))
        self.epoch = new_epoch()
        self.retention = retention
        self.unwritable = ""
        self._rules = RoomRules(retention.rooms)
        self._ruled = bool(retention.rooms)
        """Whether rooms have rules."""
        self._weighs = self._rules.least_bytes < NO_CAP
        """Whether any rule limits, or ever limited, bytes; then each room's bytes are known."""
        self._sweeps = bool(retention.rooms) or retention.ages
        """Whether anything may go without a publish."""
        self._empty_rooms = empty_rooms
        self._messages: dict[int, Message] = {}
        self._rooms: dict[str, RoomIndex] = {}
        self._listed = RoomList()
        """The rooms that have messages."""
        self._empty: dict[str, None] = {}
        """Rooms without messages, those that are empty for longest in front."""
        self._forgotten = _NOT_TRIMMED
        """What must be taken for the trimming of a room not in `_rooms`."""
        self._over: dict[str, None] = {}
        """Rooms that have more than their rules leave them."""
        self._keys: dict[Key, Kept] = {}
        self._key_of: dict[int, Key] = {}
        """The key whose first message this seq is."""
        self._gone_keys: OrderedDict[Key, None] = OrderedDict()
        """Those whose first message is gone."""
        self._newest = 0
        self._newest_at = 0
        self._clock = Clock()
        self._trimmed = 0
        self._bytes = 0
        self._deletions = 0
        self._last_gone = 0
        """Nothing behind it is gone, but for single messages that were deleted."""
        self._deleted_in: dict[str, None] = {}
        """Rooms that had single messages deleted which may not be trimmed yet."""
        self._revoked = Revoked()
        self._sweep: Sweep | None = None
        """Begun with the first message: the log may be made before there is a loop."""
        self._later: asyncio.Handle | None = None
        """Set while more is to be trimmed in another turn."""

    def append(self, drafts: Sequence[Draft], idempotency: Idempotency | None = None) -> asyncio.Future[Appended]:
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        try:
            answer.set_result(self._append(drafts, idempotency))
        except RoomcastError as error:
            answer.set_exception(error)
        return answer

    def _append(self, drafts: Sequence[Draft], idempotency: Idempotency | None) -> Appended:
        self._check_open()
        now = self._clock.now(self._newest_at if self._messages else 0)
        if not self._messages and self._newest_at > now:
            self._begin_times(now)
        if self._gone_keys:
            self._expire_keys(now)
            if idempotency:
                self._expire_key((idempotency.scope, idempotency.key), now)
        numbering = Sequencer(self.retention, self._newest, now, self._newest_of, self._keys, self._rules)
        appended = numbering.append(drafts, idempotency)
        if numbering.messages:
            self._store(numbering.messages)
            for new in numbering.new_keys:
                self._key_of[new.kept.first] = (new.scope, new.key)
            cuts = self._trim()
            self._consumers.push(numbering.messages, self._trimmed, cuts)
            if self._sweeps and self._sweep is None:
                self._keep(self.retention)
        return appended

    def _begin_times(self, now: int) -> None:
        """Removes times from the future after the clock was ahead, once all messages from then are gone."""
        self._newest_at = now
        for key, kept in self._keys.items():
            if kept.stored_at > now:
                self._keys[key] = kept._replace(stored_at=now)

    async def read(self, selection: Selection, after: int, limit: int, before: int | None = None) -> Page:
        self._check_open()
        end = self._newest if before is None else min(self._newest, max(after, before - 1))
        if sum(map(self._listed.count, selection.prefixes)) > AT_ONCE:
            messages, position = await self._gather(selection, after, limit, end)
        else:
            messages, position = self._page(selection, after, limit, end)
        losses: list[Loss] = []
        if after < self._last_gone:
            known, forgotten = self._trimmings(selection), self._forgotten
            losses = losses_between(selection, known, forgotten, after, before, self._lost_between)
        losses += self._deleted(selection, after, end)
        oldest = self._oldest(selection) if losses else 0
        return Page(messages, position, sorted(losses, key=in_order), oldest, self._deletions)

    async def get(self, seq: int) -> Message | None:
        self._check_open()
        message = self._messages.get(seq)
        return None if message is None or seq in self._rooms[message.room].deleted else message

    async def seek_newest(self, selection: Selection, count: int, before: int | None = None) -> int:
        self._check_open()
        end = self._newest if before is None else min(self._newest, before - 1)
        turns = Turns()
        if selection.prefixes:
            count, end = await self._walk_back(selection, count, end, turns)
        if not count or end <= self._trimmed:
            return max(end, 0)
        indexes = await self._indexes(selection, turns)
        if not indexes:
            return end
        return max(self._trimmed, await _before_newest(indexes, count, end, turns))

    async def _walk_back(self, selection: Selection, count: int, end: int, turns: Turns) -> tuple[int, int]:
        """How many of so many are left to find, and before where: as far as it costs no more than to look at each
        room of the selection."""
        walked = max(self._trimmed, end - sum(map(self._listed.count, selection.prefixes)))
        found = end
        for seq in range(end, walked, -1):
            if not count:
                return 0, found
            if not seq % AT_ONCE:
                await turns.next()
            message = self._messages.get(seq)
            if message and selection.covers(message.room) and seq not in self._rooms[message.room].deleted:
                count, found = count - 1, seq - 1
        return (count, walked) if count else (0, found)

    async def seek_time(self, selection: Selection, since: int) -> int:
        self._check_open()
        position = position_before(selection, self._trimmings(selection), self._forgotten, since)
        seqs: Sequence[int]
        if selection.prefixes:
            seqs = list(self._messages)
            early = bisect_left(seqs, since, key=lambda seq: self._messages[seq].stored_at)
            return max(position, seqs[early - 1] if early else 0)
        for index in self._known(selection):
            seqs = index.all()
            early = bisect_left(seqs, since, key=lambda seq: self._messages[seq].stored_at)
            position = max(position, seqs[early - 1] if early else 0)
        return position

    async def bounds(self) -> Bounds:
        self._check_open()
        oldest = next(iter(self._messages.values()), None)
        return Bounds(
            self._trimmed, self._newest, self._bytes, len(self._messages), oldest.stored_at if oldest else 0
        )

    async def rooms(self, prefix: str, sort: RoomSort, after: str | int | None, limit: int) -> Sequence[RoomStats]:
        self._check_open()
        return [self._stats(room) for room in islice(self._listed.walk(prefix, sort, after), limit)]

    async def delete(self, seq: int) -> bool:
        message = await self.get(seq)
        if message is None:
            return False
        self._deletions += 1
        index = self._rooms[message.room]
        index.deleted[seq] = self._deletions
        self._deleted_in[message.room] = None
        if self._weighs:
            index.bytes -= len(message.body)
        self._bytes -= len(message.body)
        self._messages[seq] = message._replace(type=None, body=b"")
        self._consumers.push((), self._trimmed, [Cut(message.room, seq, 1)])
        return True

    async def delete_room(self, room: str) -> None:
        self._check_open()
        index = self._rooms.get(room)
        if not index:
            return
        count, newest = len(index), index.newest
        self._last_gone = max(self._last_gone, newest)
        for seq in index.all():
            self._bytes -= len(self._messages.pop(seq).body)
            self._drop_key(seq)
        index.clear()
        self._note_empty(room)
        self._consumers.push((), self._trimmed, [Cut(room, newest, count)])

    async def revoke(self, revocation: Revocation) -> None:
        self._check_open()
        self._revoked.check(revocation)
        self._revoked.add(revocation)

    async def revocations(self) -> Sequence[Revocation]:
        self._check_open()
        return self._revoked.rows

    def keep(self, retention: Retention) -> Callable[[], None]:
        return lambda: self._keep(retention)

    def _keep(self, retention: Retention) -> None:
        self.retention = self.retention._replace(rooms=retention.rooms, max_age=retention.max_age)
        self._rules = RoomRules(retention.rooms)
        self._ruled = bool(retention.rooms)
        if self._rules.least_bytes < NO_CAP and not self._weighs:  # from then on for good
            self._weighs = True
            for index in self._rooms.values():
                index.bytes = sum(len(self._messages[seq].body) for seq in index.all())
        for room, index in self._rooms.items():
            index.take(self._rules.of(room))
        if self._sweep is None:
            self._sweep = Sweep(self._walk)
        self._sweep.apply(self.retention)

    async def _close(self) -> None:
        if self._sweep:
            self._sweep.stop()
        if self._later:
            self._later.cancel()
        self._consumers.end()

    def _stats(self, room: str) -> RoomStats:
        index = self._rooms[room]
        oldest_at = self._messages[index.oldest].stored_at if self._rules else 0
        return RoomStats(room, len(index), index.newest, index.newest_at, oldest_at)

    def _store(self, messages: Sequence[Message]) -> None:
        ruled, weighs, size = self._ruled, self._weighs, 0
        for message in messages:
            index = self._rooms.get(message.room)
            if not index:  # no messages, or not even known
                self._empty.pop(message.room, None)
                if index is None:
                    index = self._new_room(message.room)
            length = len(message.body)
            size += length
            index.add(message)
            if weighs:
                index.bytes += length
            # No call for each message.
            if ruled and (len(index.seqs) > index.limit or index.bytes > index.max_bytes) and index.is_over():
                self._over[message.room] = None
            self._listed.note(message.room, message.seq)
            self._messages[message.seq] = message
        self._bytes += size
        self._newest, self._newest_at = message.seq, message.stored_at

    def _new_room(self, room: str) -> RoomIndex:
        index = self._rooms[room] = RoomIndex(self._forgotten)
        index.take(self._rules.of(room))
        return index

    def _trim(self) -> Sequence[Cut]:
        """The oldest first, down to the caps; never what is still held for a consumer. Gives what went of rooms by
        their rules."""
        floor, end = self._consumers.floor, self._newest
        if floor is not None and floor < end:
            end = floor
        cuts = self._trim_rooms(end) if self._over else NOTHING_CUT
        most_messages, most_bytes = self.retention.max_messages, self.retention.max_bytes
        messages = self._messages
        if len(messages) <= most_messages and self._bytes <= most_bytes:
            return cuts
        # Holes are stepped over.
        for seq in range(self._trimmed + 1, min(end, self._trimmed + TRIM_STEP) + 1):
            self._trimmed = seq
            message = messages.pop(seq, None)
            if message is not None:
                self._gone(message)
                if len(messages) <= most_messages and self._bytes <= most_bytes:
                    return cuts
        if self._trimmed < end:
            self._trim_later()
        return cuts

    def _trim_rooms(self, end: int) -> list[Cut]:
        cuts: list[Cut] = []
        for room in list(self._over):
            cut = self._trim_room(room, end)
            if cut is not None:
                cuts.append(cut)
            index = self._rooms.get(room)
            if index is None or not index.is_over():
                del self._over[room]
            elif cut:
                self._trim_later()
        return cuts

    def _trim_room(self, room: str, end: int) -> Cut | None:
        """What of it goes by its rule, at most a step; None where nothing does."""
        index, rule = self._rooms.get(room), self._rules.of(room)
        if index is None or rule is None:
            return None
        oldest_at = _before(rule.max_age)
        messages = self._messages
        gone = seq = 0
        while gone < TRIM_STEP and index:
            oldest = index.oldest
            if oldest > end or not (index.is_over() or messages[oldest].stored_at < oldest_at):
                break
            self._gone(messages.pop(oldest))
            gone, seq = gone + 1, oldest
        return Cut(room, seq, gone) if gone else None

    def _gone(self, message: Message) -> None:
        size = len(message.body)
        self._last_gone = max(self._last_gone, message.seq)
        self._bytes -= size
        if self._key_of:
            self._drop_key(message.seq)
        index = self._rooms[message.room]
        if self._weighs:
            index.bytes -= size
        if index.trim(message):
            self._note_empty(message.room)

    def _note_empty(self, room: str) -> None:
        self._listed.drop(room)
        self._empty[room] = None
        self._forget()

    def _drop_key(self, seq: int) -> None:
        if key := self._key_of.pop(seq, None):
            self._gone_keys[key] = None

    def _expire_key(self, key: Key, now: int) -> None:
        if key in self._gone_keys and self._keys[key].stored_at <= now - KEY_MS:
            del self._gone_keys[key], self._keys[key]

    def _expire_keys(self, now: int) -> None:
        while self._gone_keys:
            key = next(iter(self._gone_keys))
            if self._keys[key].stored_at > now - KEY_MS and len(self._gone_keys) <= GONE_KEYS:
                return
            del self._gone_keys[key], self._keys[key]

    def _forget(self) -> None:
        """Without a bound, every room ever used would be remembered: the longest empty ones go."""
        while len(self._empty) > self._empty_rooms:
            room = next(iter(self._empty))
            del self._empty[room]
            index = self._rooms.pop(room)
            if index.newest > self._forgotten.seq:
                self._forgotten = watermark(index.newest, index.newest_at)

    def _walk(self, after: str) -> None:
        """A step of a walk over all rooms: what is too old, or too much by rules that are new."""
        asyncio.get_running_loop().call_soon(self._walk_on, after)

    def _walk_on(self, after: str) -> None:
        if self._closing or self._sweep is None:
            return
        floor = self._consumers.floor
        end = self._newest if floor is None else min(floor, self._newest)
        if self.retention.max_age is not None:
            self._trim_by_age(end, _before(self.retention.max_age))
        cuts: list[Cut] = []
        reached = None
        for room in list(islice(self._listed.walk("", "name", after), SWEEP_ROOMS)):
            reached = room
            if cut := self._trim_room(room, end):
                cuts.append(cut)
            if self._rooms[room].is_over():  # what a consumer still holds goes when it lets go
                self._over[room] = None
            if sum(cut.gone for cut in cuts) >= TRIM_STEP:
                break
        self._consumers.push((), self._trimmed, cuts)
        self._sweep.stepped(reached)

    def _trim_by_age(self, end: int, oldest_at: int) -> None:
        for seq in range(self._trimmed + 1, min(end, self._trimmed + TRIM_STEP) + 1):
            message = self._messages.get(seq)
            if message is not None:
                if message.stored_at >= oldest_at:
                    return
                del self._messages[seq]
                self._gone(message)
            self._trimmed = seq

    def _trim_later(self) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_soon(self._trim_on)

    def _trim_on(self) -> None:
        self._later = None
        if not self._closing:
            self._trim_and_tell()

    def _trim_and_tell(self) -> None:
        caps = self.retention
        if len(self._messages) <= caps.max_messages and self._bytes <= caps.max_bytes and not self._over:
            return
        before = self._trimmed
        cuts = self._trim()
        if self._trimmed > before or cuts:
            self._consumers.push((), self._trimmed, cuts)

    def _page(self, selection: Selection, after: int, limit: int, end: int) -> tuple[list[Message], int]:
        """The messages, and the position up to which they are complete."""
        messages: list[Message] = []
        size = 0
        for seq in takewhile(lambda seq: seq <= end, self._seqs(selection, after)):
            message = self._messages[seq]
            if self._deleted_in and seq in self._rooms[message.room].deleted:
                continue
            messages.append(message)
            size += len(message.body)
            if len(messages) >= limit or size >= PAGE_BYTES:
                return messages, seq
        return messages, end

    async def _gather(self, selection: Selection, after: int, limit: int, end: int) -> tuple[list[Message], int]:
        """The same for many rooms, yielding in between. Messages that go meanwhile are left out, so the result is
        that of its end."""
        position = after
        while True:
            messages, position = await self._walk_log(selection, position, limit, end)
            messages = [message for message in messages if self._messages.get(message.seq) is message]
            if messages or position >= end:
                return messages, position

    async def _walk_log(self, selection: Selection, after: int, limit: int, end: int) -> tuple[list[Message], int]:
        """Walks the log. After as many misses as there are rooms it looks at each room instead."""
        turns = Turns()
        many = sum(map(self._listed.count, selection.prefixes))
        messages: list[Message] = []
        seq, found_at, size = after, after, 0
        while seq < end:
            seq += 1
            if not seq % AT_ONCE:
                await turns.next()
            message = self._messages.get(seq)
            if message and selection.covers(message.room) and seq not in self._rooms[message.room].deleted:
                messages.append(message)
                size += len(message.body)
                found_at = seq
                if len(messages) >= limit or size >= PAGE_BYTES:
                    return messages, seq
            elif seq - found_at > many:
                seq = found_at = await self._before_next(selection, seq, end, turns)
        return messages, end

    def _seqs(self, selection: Selection, after: int) -> Iterable[int]:
        return merge(*(index.ascending(after) for index in self._known(selection) if index.newest > after))

    async def _before_next(self, selection: Selection, after: int, end: int, turns: Turns) -> int:
        """The position right before the selection's next message up to `end`; `end` if there is none."""
        found = end + 1
        for number, index in enumerate(await self._indexes(selection, turns)):
            if not number % AT_ONCE:
                await turns.next()
            if index.newest > after:
                found = min(found, next(iter(index.ascending(after)), found))
        return found - 1

    async def _indexes(self, selection: Selection, turns: Turns) -> list[RoomIndex]:
        """The rooms of a selection, yielding in between. A room that gets its first message meanwhile may be
        missing."""
        rooms, prefixes = selection
        found = [self._rooms[room] for room in rooms if room in self._rooms]
        for prefix in prefixes:
            after: str | None = None
            while names := list(islice(self._listed.walk(prefix, "name", after), AT_ONCE)):
                found += [self._rooms[room] for room in names if room not in rooms]
                after = names[-1]
                await turns.next()
        return found

    def _deleted(self, selection: Selection, after: int, end: int) -> list[Loss]:
        losses: list[Loss] = []
        for room in list(self._deleted_in):
            index = self._rooms.get(room)
            if not index or not index.deleted:
                del self._deleted_in[room]
            elif selection.covers(room):
                numbers = index.deleted.items()
                losses += [Loss(room, seq, 1, 0, number) for seq, number in numbers if after < seq <= end]
        return losses

    def _oldest(self, selection: Selection) -> int:
        return min((index.oldest for index in self._known(selection) if index), default=self._newest + 1)

    async def _fetch(self, after: int) -> Sequence[Message]:
        found: list[Message] = []
        for seq in range(after + 1, self._newest + 1):
            message = self._messages.get(seq)
            if message and seq not in self._rooms[message.room].deleted:
                found.append(message)
                if len(found) == _FETCH_MESSAGES:
                    break
        return found

    def _known(self, selection: Selection) -> list[RoomIndex]:
        """The rooms of a selection; by prefix those that have messages."""
        rooms, prefixes = selection
        named = [self._rooms[room] for room in rooms if room in self._rooms]
        if not prefixes:
            return named
        walks = [self._listed.walk(prefix, "name", None) for prefix in prefixes]
        by_prefix = [self._rooms[room] for walk in walks for room in walk if room not in rooms]
        return named + by_prefix

    def _lost_between(self, room: str, after: int, last: int) -> int:
        """How many messages of a known room are gone after `after`; `last` is the last gone one."""
        return self._rooms[room].lost_after(after)

    def _newest_of(self, room: str) -> int:
        index = self._rooms.get(room)
        return self._forgotten.seq if index is None else index.newest

    def _trimmings(self, selection: Selection) -> dict[str, Trimmed]:
        rooms, prefixes = selection
        if not prefixes:
            return {room: self._rooms[room].trimmed for room in rooms if room in self._rooms}
        return {room: index.trimmed for room, index in self._rooms.items() if selection.covers(room)}


async def _before_newest(indexes: Sequence[RoomIndex], wanted: int, end: int, turns: Turns) -> int:
    """The position behind which these rooms have so many messages up to `end`; -1 where they have fewer.

    Searched and not walked: a replay of the newest million must not take longer than one of the newest ten. Of
    many rooms only those are looked at again that have messages where the search still goes on."""
    low, high = 0, end
    counted = 0
    """Messages behind `high`."""
    while low < high:
        middle = (low + high) // 2
        counts = await _counts(indexes, middle + 1, high, turns)
        upper = sum(counts)
        if counted + upper >= wanted:
            low = middle + 1
            indexes = [index for index, count in zip(indexes, counts, strict=True) if count]
        else:
            counted += upper
            high = middle
            counts = await _counts(indexes, low + 1, middle, turns)
            indexes = [index for index, count in zip(indexes, counts, strict=True) if count]
    return low - 1


async def _counts(indexes: Sequence[RoomIndex], first: int, last: int, turns: Turns) -> list[int]:
    counts = []
    for number, index in enumerate(indexes):
        if not number % AT_ONCE:
            await turns.next()
        counts.append(index.count(first, last))
    return counts


def _before(age: float | None) -> int:
    """What was stored before this time (ms) is older than that."""
    return 0 if age is None else machine.clock() // 1_000_000 - int(age * 1000)
