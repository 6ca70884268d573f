"""Reads the log in memory. Searches over many rooms yield to other tasks in between; all other reads do not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice, takewhile

from roomcast.log.base import PAGE_BYTES, Loss, Page
from roomcast.log.memory.content import Content
from roomcast.log.memory.newest import AT_ONCE, before_newest
from roomcast.log.memory.room_index import RoomIndex
from roomcast.log.trimming import Trimming, in_order, losses_between, position_before
from roomcast.model.message import Message
from roomcast.model.rooms import Selection
from roomcast.tasks import Turns

FETCH_MESSAGES = 1_000
"""The most messages that a consumer reads from the log at once. A batch of recent commits may have more."""


class MemoryReader:
    """Reads the content. The result of each read is that of one moment. Only `seek_newest` may count messages that
    are removed while it yields."""

    def __init__(self, content: Content) -> None:
        self._content = content

    async def page(self, selection: Selection, after: int, limit: int, before: int | None) -> Page:
        """A page of `selection`, as `Log.read` returns it: at most `limit` messages with `after` < seq <
        `before`."""
        content = self._content
        end = content.newest if before is None else min(content.newest, max(after, before - 1))
        if self._count_listed(selection) > AT_ONCE:
            messages, position = await self._read_many(selection, after, limit, end)
        else:
            messages, position = self._read_few(selection, after, limit, end)
        losses: list[Loss] = []
        if after < content.last_gone:
            known = self._trimmings(selection)
            losses = losses_between(selection, known, content.forgotten, after, before, self._lost_between)
        losses += self._deleted(selection, after, end)
        oldest = self._oldest(selection) if losses else 0
        return Page(messages, position, sorted(losses, key=in_order), oldest, content.deletions)

    def get(self, seq: int) -> Message | None:
        """The message with this `seq`; None if it is gone, deleted or not stored yet."""
        message = self._content.messages.get(seq)
        return None if message is None or self._content.is_deleted(message) else message

    async def seek_newest(self, selection: Selection, count: int, before: int | None) -> int:
        """The position after which the newest `count` messages of `selection` below the seq `before` begin."""
        content = self._content
        end = content.newest if before is None else min(content.newest, before - 1)
        turns = Turns()
        if selection.prefixes:
            count, end = await self._walk_back(selection, count, end, turns)
        if not count or end <= content.trimmed:
            return max(end, 0)
        indexes = await self._indexes(selection, turns)
        if not indexes:
            return end
        return max(content.trimmed, await before_newest(indexes, count, end, turns))

    def seek_time(self, selection: Selection, since: int) -> int:
        """The position after which the messages of `selection` stored at or after `since` (ms since 1970)
        begin."""
        content = self._content
        position = position_before(selection, self._trimmings(selection), content.forgotten, since)
        if not selection.prefixes:
            rooms = self._known_rooms(selection)
            position = max([position, *(self._last_before(index.all(), since) for index in rooms)])
            unknown = content.forgotten.seq if len(rooms) < len(selection.rooms) else 0
            if position >= max([unknown, *(index.trimmed.seq for index in rooms)]):
                return position
        # Messages of other rooms also show which of the lost ones are older than `since`.
        return max(position, self._last_before(list(content.messages), since))

    def fetch(self, after: int) -> Sequence[Message]:
        """The first messages of the whole log after the seq `after`; at most `FETCH_MESSAGES`."""
        messages = (self.get(seq) for seq in range(after + 1, self._content.newest + 1))
        return list(islice((message for message in messages if message), FETCH_MESSAGES))

    def _last_before(self, seqs: Sequence[int], since: int) -> int:
        """The last of these messages that was stored before `since`; 0 if there is none."""
        early = bisect_left(seqs, since, key=lambda seq: self._content.messages[seq].stored_at)
        return seqs[early - 1] if early else 0

    def _read_few(self, selection: Selection, after: int, limit: int, end: int) -> tuple[list[Message], int]:
        """The messages, and the position up to which they are complete."""
        content, size, messages = self._content, 0, list[Message]()
        for seq in takewhile(lambda seq: seq <= end, self._seqs(selection, after)):
            message = content.messages[seq]
            if content.deleted_in and content.is_deleted(message):
                continue
            messages.append(message)
            size += len(message.body)
            if len(messages) >= limit or size >= PAGE_BYTES:
                return messages, seq
        return messages, end

    async def _read_many(
        self, selection: Selection, after: int, limit: int, end: int
    ) -> tuple[list[Message], int]:
        """Like `_read_few`, but for many rooms, and yields in between. Messages removed meanwhile are left out,
        so the result is that of the moment at which it returns."""
        messages, position = await self._walk_log(selection, after, limit, end)
        return [message for message in messages if self._content.messages.get(message.seq) is message], position

    async def _walk_log(self, selection: Selection, after: int, limit: int, end: int) -> tuple[list[Message], int]:
        """Walks the log message by message. After as many misses in a row as there are rooms, it looks into each
        room instead."""
        turns, many = Turns(), self._count_listed(selection)
        messages: list[Message] = []
        seq, found_at, size = after, after, 0
        while seq < end:
            seq += 1
            if not seq % AT_ONCE:
                await turns.next()
            if message := self._covered(selection, seq):
                messages.append(message)
                size += len(message.body)
                found_at = seq
                if len(messages) >= limit or size >= PAGE_BYTES:
                    return messages, seq
            elif seq - found_at > many:
                seq = found_at = await self._before_next(selection, seq, end, turns)
        return messages, end

    async def _walk_back(self, selection: Selection, count: int, end: int, turns: Turns) -> tuple[int, int]:
        """Looks for the newest `count` messages backwards from `end`, in at most as many steps as there are rooms.
        Returns how many are still to be found, and the position up to which to look for them; or 0, and the
        position after which the found ones begin."""
        walked = max(self._content.trimmed, end - self._count_listed(selection))
        found = end
        for seq in range(end, walked, -1):
            if not count:
                return 0, found
            if not seq % AT_ONCE:
                await turns.next()
            if self._covered(selection, seq):
                count, found = count - 1, seq - 1
        return (count, walked) if count else (0, found)

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
        known, listed = self._content.rooms, self._content.listed
        found = [known[room] for room in rooms if room in known]
        for prefix in prefixes:
            after: str | None = None
            while names := list(islice(listed.walk(prefix, "name", after), AT_ONCE)):
                found += [known[room] for room in names if room not in rooms]
                after = names[-1]
                await turns.next()
        return found

    def _covered(self, selection: Selection, seq: int) -> Message | None:
        """A message, if it is there and of one of these rooms."""
        message = self._content.messages.get(seq)
        if message and selection.covers(message.room) and not self._content.is_deleted(message):
            return message
        return None

    def _count_listed(self, selection: Selection) -> int:
        """How many rooms with messages the prefixes of `selection` match."""
        return sum(map(self._content.listed.count, selection.prefixes))

    def _seqs(self, selection: Selection, after: int) -> Iterable[int]:
        return merge(*(index.ascending(after) for index in self._known_rooms(selection) if index.newest > after))

    def _known_rooms(self, selection: Selection) -> list[RoomIndex]:
        """The known rooms of a selection. Of the rooms that a prefix matches, only those that have messages."""
        rooms, prefixes = selection
        known, listed = self._content.rooms, self._content.listed
        named = [known[room] for room in rooms if room in known]
        if not prefixes:
            return named
        walks = [listed.walk(prefix, "name", None) for prefix in prefixes]
        return named + [known[room] for walk in walks for room in walk if room not in rooms]

    def _deleted(self, selection: Selection, after: int, end: int) -> list[Loss]:
        losses, content = list[Loss](), self._content
        for room in list(content.deleted_in):
            index = content.rooms.get(room)
            if not index or not index.deleted:
                del content.deleted_in[room]
            elif selection.covers(room):
                numbers = index.deleted.items()
                losses += [Loss(room, seq, 1, 0, number) for seq, number in numbers if after < seq <= end]
        return losses

    def _oldest(self, selection: Selection) -> int:
        oldest = (index.oldest for index in self._known_rooms(selection) if index)
        return min(oldest, default=self._content.newest + 1)

    def _lost_between(self, room: str, after: int, last: int) -> int:
        """An upper bound for the gone messages of a known room after `after`; `last` is the last gone one."""
        return self._content.rooms[room].lost_after(after)

    def _trimmings(self, selection: Selection) -> dict[str, Trimming]:
        rooms, prefixes = selection
        known = self._content.rooms
        if not prefixes:
            return {room: known[room].trimmed for room in rooms if room in known}
        return {room: index.trimmed for room, index in known.items() if selection.covers(room)}
