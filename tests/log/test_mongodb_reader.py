"""A read of a collection reads no more than it returns, and a bounded number of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from roomcast.log.base import PAGE_BYTES
from roomcast.log.mongodb.documents import AppendDocument, keyed_append, rooms_of, to_document
from roomcast.log.mongodb.opening import Store
from roomcast.log.mongodb.reader import RANGE_BYTES, RANGE_DOCUMENTS, MongoReader
from roomcast.log.sequencer import KeyedAppend
from roomcast.log.trimming import Trimming
from roomcast.model.message import Message


class Collection:
    """The methods of a collection that reading a page needs."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.documents = [_document(seq, body) for seq, body in enumerate(bodies, 1)]
        self.sent = 0
        """Documents that were read."""
        self.finds = 0
        self.returned: set[str] = set()
        """The fields that were read."""

    async def find_one(self, query: object, fields: object, **options: object) -> Mapping[str, Any]:
        return self.documents[-1]

    def find(
        self, query: Mapping[str, Any], fields: Mapping[str, int] | None = None, session: object = None
    ) -> Collection:
        self.finds += 1
        self._fields = fields
        last = query.get("roomcast.last", {"$gte": 0})["$gte"]
        first = max(int(query["_id"]["$gte"]), int(last))
        self._found = [d for d in self.documents if first <= d["_id"] <= query["_id"]["$lte"]]
        return self

    def sort(self, *order: object) -> Collection:
        return self

    def limit(self, count: int) -> Collection:
        self._found = self._found[:count]
        return self

    def batch_size(self, count: int) -> Collection:
        return self

    async def __aenter__(self) -> Collection:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def __aiter__(self) -> AsyncIterator[Mapping[str, Any]]:
        for document in self._found:
            self.sent += 1
            sent = {k: v for k, v in document.items() if self._fields is None or k in ("_id", *self._fields)}
            self.returned.update(sent)
            yield sent


def _document(seq: int, body: bytes) -> dict[str, Any]:
    message = Message(seq, "a", None, 1000, seq - 1, body)
    before = [Trimming(seq - 1, 0, seq - 1)]
    return to_document(AppendDocument([message], before, 1, 1, 0, len(body), f"0:{seq}", b"digest"))


def reader_of(collection: Collection) -> MongoReader:
    @asynccontextmanager
    async def start_session() -> AsyncIterator[None]:
        yield None

    client = SimpleNamespace(start_session=start_session)
    return MongoReader(cast(Store, SimpleNamespace(client=client, messages=collection, latest=collection)))


def body(size: int) -> bytes:
    return b'{"room":"a","text":"%b"}' % (b"x" * size)


async def test_a_page_of_large_messages_reads_no_more_than_it_returns() -> None:
    collection = Collection([body(60_000)] * 300)
    page = await reader_of(collection).page(frozenset("a"), 0, 1000, None)
    assert [message.seq for message in page.messages] == [1, 2, 3, 4, 5]
    assert page.position == 5
    assert collection.sent <= 6


async def test_large_messages_behind_small_ones_are_read_in_small_numbers() -> None:
    collection = Collection([body(10)] * 50 + [body(60_000)] * 300)
    page = await reader_of(collection).page(frozenset("a"), 0, 1000, None)
    assert sum(len(message.body) for message in page.messages) >= PAGE_BYTES
    assert collection.sent <= 56


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 36, 100, 1000])
@pytest.mark.parametrize("before", [None, 7, 250])
async def test_a_page_read_in_parts_is_the_same_as_one_read(limit: int, before: int | None) -> None:
    collection = Collection([body(10)] * 300)
    reader = reader_of(collection)
    page = await reader.page(frozenset("a"), 2, limit, before)
    end = 300 if before is None else before - 1
    expected = list(range(3, min(end, 2 + limit) + 1))
    assert [message.seq for message in page.messages] == expected
    assert page.position == (expected[-1] if len(expected) == limit else end)
    assert collection.finds <= 5


@pytest.mark.parametrize("method", ["range", "range_since"])
async def test_a_read_of_the_whole_log_ends_once_it_has_many_bytes(method: str) -> None:
    collection = Collection([body(60_000)] * 300)
    entries, whole = await getattr(reader_of(collection), method)(1)
    assert not whole
    assert RANGE_BYTES <= sum(entry.size for entry in entries[1:]) < RANGE_BYTES + 61_000
    assert collection.sent == len(entries)
    entries, whole = await getattr(reader_of(collection), method)(250)
    assert ([entry.first for entry in entries], whole) == (list(range(250, 301)), True)


async def test_a_read_of_the_whole_log_goes_on_after_a_first_document_of_any_size() -> None:
    entries, whole = await reader_of(Collection([body(RANGE_BYTES)] * 3)).range_since(1)
    assert ([entry.first for entry in entries], whole) == ([1, 2], False)


async def test_a_read_of_the_whole_log_ends_with_a_number_of_small_documents() -> None:
    collection = Collection([body(1)] * (RANGE_DOCUMENTS + 1))
    entries, whole = await reader_of(collection).range_since(1)
    assert (len(entries), whole) == (RANGE_DOCUMENTS, False)
    entries, whole = await reader_of(collection).range_since(2)
    assert (len(entries), whole) == (RANGE_DOCUMENTS, False)  # there may be more
    entries, whole = await reader_of(collection).range_since(3)
    assert (len(entries), whole) == (RANGE_DOCUMENTS - 1, True)


async def test_keys_and_the_newest_messages_are_looked_up_without_bodies() -> None:
    collection = Collection([body(10)] * 3)
    assert (await reader_of(collection).with_keys(["0:2"]))["0:2"] == KeyedAppend(b"digest", 2, 1, 1000)
    assert "text" not in collection.returned
    assert await reader_of(collection).seek_newest(frozenset("a"), 1, 3) is not None
    assert "text" not in collection.returned


def test_a_batch_tells_the_room_of_each_message() -> None:
    messages = [Message(seq, room, None, 1000, 0, b"{}") for seq, room in ((5, "a"), (6, "b"))]
    batch = AppendDocument(messages, [Trimming(0, 0, 0)] * 2, 1, 1, 0, 4, "0:k", b"digest")
    assert rooms_of(to_document(batch)) == [(5, "a"), (6, "b")]
    assert keyed_append(to_document(batch)) == ("0:k", KeyedAppend(b"digest", 5, 2, 1000))
