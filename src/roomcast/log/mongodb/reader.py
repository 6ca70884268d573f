"""Reads the collection. Every query is limited to numeric `_id`s (`id_range`): in BSON's order an ObjectId is
greater than any number, so an unlimited sort on `_id` would find documents of other programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bson import DatetimeMS, Int64
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.client_session import AsyncClientSession

from roomcast.log.base import PAGE_BYTES, Loss, Page, RoomStats
from roomcast.log.mongodb.documents import (
    BATCH,
    ENDS,
    AppendDocument,
    DocumentEnds,
    ends_of,
    from_document,
    keyed_append,
    rooms_of,
)
from roomcast.log.mongodb.opening import Collection, Document, Store
from roomcast.log.mongodb.rooms import KnownRooms
from roomcast.log.sequencer import KeyedAppend
from roomcast.log.trimming import Trimming, losses_between
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import Message
from roomcast.model.rooms import Selection

T = TypeVar("T")

RANGE_DOCUMENTS = 1_000
RANGE_BYTES = 4 * 1024 * 1024
"""One read of the whole log ends with the document that reaches either of these. The bytes of the first document
do not count: the caller may know that document, and must get another one."""
_FIRST_DOCUMENTS = 4
_GROWTH = 8
"""A page is read in parts. Each part has at most this many times as many documents as the part before. The size of
documents is known only after the read: with the default --max-body, 1,000 of the largest take a gigabyte."""
_DOCUMENTS_AT_ONCE = 64
"""How many documents of a part the database sends at once."""
_NO_END = 2**62
MOST_NAMED = 64
"""For up to this many rooms, losses are reported room by room. More rooms occur only with clients that follow by
prefix."""


class MongoReader:
    """Queries the collection. Every method raises `PyMongoError` if the database is away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._messages = store.messages

    async def range(self, seq: int) -> tuple[list[AppendDocument], bool]:
        """The first documents, beginning with the one that holds the message `seq`: at most `RANGE_DOCUMENTS`, and
        fewer if their bodies reach `RANGE_BYTES`. Also returns whether none are left."""
        return await self._range(_holding(seq))

    async def range_since(self, first: int) -> tuple[list[AppendDocument], bool]:
        """Like `range`, for the documents with `_id` >= `first`. Cheaper, since `range` also has to search the
        documents before its `seq`."""
        return await self._range({"_id": id_range(first)})

    async def since(self, first: int, limit: int) -> list[AppendDocument]:
        """The first `limit` documents with `_id` >= `first`, however large they are."""
        return await self._find(self._messages, {"_id": id_range(first)}, ASCENDING, limit)

    async def oldest(self) -> DocumentEnds | None:
        """The oldest document; None if there is none."""
        return await self._ends(self._messages, {"_id": id_range(1)}, ASCENDING)

    async def newest(self, session: AsyncClientSession | None = None) -> DocumentEnds | None:
        """The newest confirmed document; None if there is none. With a `session`, later reads of that session
        never see an earlier state."""
        return await self._ends(self._messages, {"_id": id_range(1)}, DESCENDING, session)

    async def latest(self) -> DocumentEnds | None:
        """The newest document, even if it is not confirmed yet."""
        return await self._ends(self._store.latest, {"_id": id_range(1)}, DESCENDING)

    async def with_keys(self, keys: Sequence[str]) -> dict[str, KeyedAppend]:
        """The appends that have these idempotency `keys` (made by `key_of`), by key, including appends that are
        not confirmed yet. Reads no messages."""
        query = {"_id": id_range(1), "roomcast.key": {"$in": list(keys)}}
        found = self._store.latest.find(query, ENDS).sort("_id", ASCENDING)
        return dict([parse(keyed_append, document) async for document in found])

    async def get(self, seq: int) -> Message | None:
        """The message `seq`; None if it is not retained, or not stored yet."""
        entry = _one(await self._find(self._messages, _holding(seq), ASCENDING, 1))
        return entry.messages[seq - entry.first] if entry and entry.first <= seq else None

    async def page(self, rooms: frozenset[str], after: int, limit: int, before: int | None) -> Page:
        """The page that `Log.read` describes, without its losses: the first messages of `rooms` with after < seq <
        before. It has at most `limit` messages, and at least one if there is one."""
        # In one session, a later read never sees an earlier state, not even on another primary.
        async with self._store.client.start_session() as session:
            newest = await self.newest(session)
            end = newest.last if newest else 0
            end = end if before is None else min(end, max(after, before - 1))
            of_rooms = {"room": {"$in": sorted(rooms)}}
            query = _holding(after + 1, end) | of_rooms
            entries: list[AppendDocument] = []
            count = min(_FIRST_DOCUMENTS, limit + 1)
            while True:
                part, whole = await self._part(query, count, session)
                entries += part
                wanted = (m for e in entries for m in e.messages if after < m.seq <= end and m.room in rooms)
                messages, cut = _cut(wanted, limit)
                more = cut or len(entries) > limit
                if more or whole:
                    return Page(messages, messages[-1].seq if more and messages else end, [])
                query = {"_id": id_range(part[-1].last + 1, end)} | of_rooms
                count = min(_next_count(count, entries), limit + 1 - len(entries))

    async def _part(
        self, query: Mapping[str, Any], count: int, session: AsyncClientSession
    ) -> tuple[list[AppendDocument], bool]:
        """Reads up to `count` documents, but no more than fill a page. Also returns whether none are left."""
        found = self._messages.find(query, session=session).sort("_id", ASCENDING).limit(count)
        entries: list[AppendDocument] = []
        size = 0
        async with found.batch_size(_DOCUMENTS_AT_ONCE) as cursor:
            async for document in cursor:
                entries.append(parse(from_document, document))
                size += entries[-1].size
                if size >= PAGE_BYTES:
                    return entries, False
        return entries, len(entries) < count

    async def losses(
        self,
        page: Page,
        selection: Selection,
        names: frozenset[str],
        rooms: KnownRooms,
        trimmed: int,
        after: int,
        before: int | None,
    ) -> Sequence[Loss]:
        """The losses between `after` and `before`, in order, for a `page` that was read before.

        `selection`: the rooms as requested; `names`: the rooms that the page was read for. `rooms`: the rooms that
        this process knows. `trimmed`: the seq up to which the collection was trimmed after the read. The `prev` of
        each room's first message on the page tells what the room lost before it. For more than `MOST_NAMED` rooms,
        there is one loss without a room's name.
        """
        if after >= trimmed:
            return []
        if len(names) > MOST_NAMED:  # reporting them room by room would take a query for each room
            position = trimmed if before is None else min(trimmed, before - 1)
            return [Loss("", position, position, position)]
        known: dict[str, Trimming] = {}
        for message in page.messages:
            known.setdefault(message.room, Trimming(message.prev, 0, 0))
        found = await self.trimmings(names, rooms, trimmed)
        for room, first in known.items():
            # The room's oldest message may have been trimmed during the read. The page has it, so it is not
            # lost.
            if found[room].seq > first.seq:
                found[room] = first._replace(lost=found[room].lost)
        return losses_between(selection, found, rooms.forgotten, after, before, rooms.between)

    async def trimmings(self, names: frozenset[str], rooms: KnownRooms, trimmed: int) -> dict[str, Trimming]:
        """How far each of the rooms `names` is trimmed, if the collection is trimmed up to the seq `trimmed`.
        Takes one read for each room that retains messages according to `rooms`."""
        return {room: await self._trimming(room, rooms, trimmed) for room in names}

    async def _trimming(self, room: str, rooms: KnownRooms, trimmed: int) -> Trimming:
        newest = rooms.newest_of(room)
        if newest.seq <= trimmed:
            return newest
        oldest = _one(await self._find(self._messages, {"_id": id_range(1), "room": room}, ASCENDING, 1))
        if oldest is None:  # it was trimmed meanwhile
            return newest
        index = next(n for n, message in enumerate(oldest.messages) if message.room == room)
        return oldest.rooms_before[index]

    async def seek_newest(self, rooms: frozenset[str], count: int, end: int) -> int | None:
        """The seq of the oldest of the newest `count` messages of `rooms` up to the seq `end`; None if there are
        none."""
        query = {"_id": id_range(1, end), "room": {"$in": sorted(rooms)}}
        # One more than needed: the first document found may reach beyond `end`.
        found = self._messages.find(query, {"room": 1}).sort("_id", DESCENDING).limit(count + 1)
        placed = [parse(rooms_of, document) async for document in found]
        seqs = [seq for one in placed for seq, room in reversed(one) if room in rooms and seq <= end]
        return seqs[:count][-1] if count and seqs else None

    async def last_before(self, time: int) -> DocumentEnds | None:
        """The newest document stored before `time` (ms since 1970); None if there is none."""
        # Searched from the end: most requests are for recent times.
        query = {"_id": id_range(1), "timestamp": {"$lt": DatetimeMS(time)}}
        return await self._ends(self._messages, query, DESCENDING)

    async def count(self, rooms: Mapping[str, Trimming]) -> Sequence[RoomStats]:
        """Counts the messages of `rooms`, which has the newest message of each. Leaves out rooms without messages.
        Reads only the documents of these rooms, by the index."""
        names = list(rooms)
        steps: list[Mapping[str, Any]] = [
            {"$match": {"_id": id_range(1), "room": {"$in": names}}},
            {"$unwind": "$room"},
            {"$match": {"room": {"$in": names}}},
            {"$group": {"_id": "$room", "messages": {"$sum": 1}}},
        ]
        counted = {found["_id"]: found["messages"] async for found in await self._messages.aggregate(steps)}
        return [
            RoomStats(room, counted[room], newest.seq, newest.at)
            for room, newest in rooms.items()
            if room in counted
        ]

    async def _range(self, query: Mapping[str, Any]) -> tuple[list[AppendDocument], bool]:
        entries: list[AppendDocument] = []
        size = 0
        async with self._messages.find(query).sort("_id", ASCENDING).limit(RANGE_DOCUMENTS) as cursor:
            async for document in cursor:
                entries.append(parse(from_document, document))
                size += entries[-1].size if len(entries) > 1 else 0
                if size >= RANGE_BYTES:
                    return entries, False
        return entries, len(entries) < RANGE_DOCUMENTS

    async def _find(
        self,
        collection: Collection,
        query: Mapping[str, Any],
        direction: int,
        limit: int,
        session: AsyncClientSession | None = None,
    ) -> list[AppendDocument]:
        cursor = collection.find(query, session=session).sort("_id", direction).limit(limit)
        return [parse(from_document, document) async for document in cursor]

    async def _ends(
        self,
        collection: Collection,
        query: Mapping[str, Any],
        direction: int,
        session: AsyncClientSession | None = None,
    ) -> DocumentEnds | None:
        found = await collection.find_one(query, ENDS, sort=[("_id", direction)], session=session)
        return parse(ends_of, found) if found else None


def parse(read: Callable[[Document], T], document: Document) -> T:
    """Reads `document` with the function `read`. Raises `LogUnavailable` if it is a document of another program,
    whose `_id` is a number."""
    try:
        return read(document)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise LogUnavailable(
            f"The collection holds a document with the number {document['_id']} as _id that is not roomcast's: "
            "remove it, or name another database."
        ) from error


def id_range(first: int, last: int = _NO_END) -> dict[str, Int64]:
    """The condition for `first` <= `_id` <= `last`."""
    return {"$gte": Int64(first), "$lte": Int64(last)}


def _holding(seq: int, last: int = _NO_END) -> dict[str, Any]:
    """The condition for the document with `seq` and all after it. The bounds of `_id` let it use the index."""
    return {"_id": id_range(max(1, seq - BATCH + 1), last), "roomcast.last": {"$gte": Int64(seq)}}


def _one(entries: Sequence[AppendDocument]) -> AppendDocument | None:
    return entries[0] if entries else None


def _next_count(count: int, entries: Sequence[AppendDocument]) -> int:
    """How many documents to read next for a page: enough to fill it if they are as large as those read so far."""
    size = sum(entry.size for entry in entries) + 1
    fitting = (PAGE_BYTES - size) * len(entries) // size
    return max(1, min(_GROWTH * count, fitting + 1))


def _cut(wanted: Iterable[Message], limit: int) -> tuple[list[Message], bool]:
    """The messages of a page, and whether there may be more. A page has at most `limit` messages and ends at
    `PAGE_BYTES`. It also ends where messages were trimmed meanwhile: there, a message's `prev` is not the one
    before it."""
    messages: list[Message] = []
    newest: dict[str, int] = {}
    size = 0
    for message in wanted:
        if newest.get(message.room, message.prev) != message.prev:
            return messages, True
        messages.append(message)
        newest[message.room] = message.seq
        size += len(message.body)
        if len(messages) >= max(limit, 1) or size >= PAGE_BYTES:
            return messages, True
    return messages, False
