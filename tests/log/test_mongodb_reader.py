"""A page reads no more of a collection than it returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from roomcast.log.base import PAGE_BYTES
from roomcast.log.mongodb.documents import AppendDocument, to_document
from roomcast.log.mongodb.opening import Store
from roomcast.log.mongodb.reader import MongoReader
from roomcast.log.trimming import Trimming
from roomcast.model.message import Message


class Collection:
    """The methods of a collection that reading a page needs."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.documents = [_document(seq, body) for seq, body in enumerate(bodies, 1)]
        self.sent = 0
        """Documents that were read."""
        self.finds = 0

    async def find_one(self, query: object, fields: object, **options: object) -> Mapping[str, Any]:
        return self.documents[-1]

    def find(self, query: Mapping[str, Any], session: object) -> Collection:
        self.finds += 1
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
            yield document


def _document(seq: int, body: bytes) -> dict[str, Any]:
    message = Message(seq, "a", None, 1000, seq - 1, body)
    return to_document(AppendDocument([message], [Trimming(seq - 1, 0, seq - 1)], 1, 1, 0, len(body)))


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
