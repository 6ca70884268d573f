"""Reads during which documents are trimmed: their messages and losses. No database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from roomcast.log.base import Loss, Page
from roomcast.log.consumers import Consumers
from roomcast.log.mongodb.documents import AppendDocument, DocumentEnds, to_document
from roomcast.log.mongodb.opening import Store
from roomcast.log.mongodb.range_reader import RangeReader
from roomcast.log.mongodb.reader import MOST_NAMED, MongoReader, _cut
from roomcast.log.mongodb.rooms import KnownRooms
from roomcast.log.mongodb.view import View
from roomcast.log.outage import HistoryChanged
from roomcast.log.register import Register
from roomcast.log.trimming import Trimming, watermark
from roomcast.model.message import Message
from roomcast.model.rooms import Selection
from tests.log.steps import rooms, seqs

NOTHING = watermark(0, 0)


def document(seq: int, room: str = "a", prev: int = 0) -> AppendDocument:
    message = Message(seq, room, None, 1, prev, b"{}")
    return AppendDocument([message], [Trimming(prev, 1, prev)], seq, seq - 1, 0, 2)


def known(*documents: AppendDocument, forgotten: Trimming = NOTHING) -> KnownRooms:
    found = KnownRooms([], forgotten, 10, Register(0, 100))
    for one in documents:
        found.note(one)
    return found


def ends(seq: int) -> DocumentEnds:
    return DocumentEnds(seq, seq, 1, 0, 2, seq)


class Documents:
    """The methods of a collection that a search for documents needs."""

    def __init__(self, *documents: AppendDocument) -> None:
        self._documents = [to_document(one) for one in documents]

    def find(self, query: Mapping[str, Any], session: object) -> Documents:
        return self

    def sort(self, *_: object) -> Documents:
        return self

    def limit(self, count: int) -> Documents:
        return self

    async def __aiter__(self) -> AsyncIterator[Mapping[str, Any]]:
        for one in self._documents:
            yield one


def reader_of(*documents: AppendDocument) -> MongoReader:
    collection = Documents(*documents)
    return MongoReader(cast(Store, SimpleNamespace(messages=collection, latest=collection)))


def test_a_page_ends_where_messages_were_trimmed_during_the_read() -> None:
    first, second, third = (document(seq, prev=prev).messages[0] for seq, prev in ((1, 0), (2, 1), (5, 4)))
    assert _cut([first, second, third], 10) == ([first, second], True)
    assert _cut([first, second], 10) == ([first, second], False)
    assert _cut([first, second], 2) == ([first, second], True)


async def losses(page: Page, selection: Selection, trimmed: int, before: int | None = None) -> Sequence[Loss]:
    seen = known(document(1), document(2, prev=1), document(3, prev=2))
    reader = reader_of(document(3, prev=2))
    return await reader.losses(page, selection, selection.rooms, seen, trimmed, 0, before)


async def test_a_message_of_the_page_is_not_lost_although_it_was_trimmed_during_the_read() -> None:
    page = Page([document(2, prev=1).messages[0]], 2, [])
    [loss] = await losses(page, rooms("a"), trimmed=2)
    assert (loss.room, loss.last) == ("a", 1)


async def test_very_many_rooms_share_one_loss_without_a_name() -> None:
    many = rooms(*(f"r{number}" for number in range(MOST_NAMED + 1)))
    assert await losses(Page([], 3, []), many, trimmed=3) == [Loss("", 3, 3, 3)]
    assert await losses(Page([], 3, []), many, trimmed=3, before=3) == [Loss("", 2, 2, 2)]
    assert await losses(Page([], 3, []), many, trimmed=0) == []


async def test_a_room_whose_last_message_is_trimmed_during_the_read_is_trimmed_up_to_it() -> None:
    seen = known(document(1), document(2, prev=1))
    assert await reader_of().trimmings(frozenset("a"), seen, 1) == {"a": Trimming(2, 1, 2)}


class Ranges:
    """The reads that a range reader makes."""

    def __init__(self, entries: Sequence[AppendDocument], oldest: DocumentEnds | None) -> None:
        self._entries = entries
        self._oldest = oldest

    async def range_since(self, first: int) -> tuple[Sequence[AppendDocument], bool]:
        return self._entries, True

    async def oldest(self) -> DocumentEnds | None:
        return self._oldest


def test_a_room_that_a_process_behind_saved_again_does_not_lower_the_watermark() -> None:
    found = KnownRooms([("a", Trimming(3, 1, 3))], watermark(5, 2), 0, Register(0, 100))
    found.forget(5)
    assert found.newest_of("a") == watermark(5, 2)


def view_of(*documents: AppendDocument) -> tuple[View, list[Message]]:
    """A view with these documents, and the messages that it passes on."""
    passed: list[Message] = []

    def push(messages: Sequence[Message], trimmed: int) -> None:
        passed.extend(messages)

    consumers = cast(Consumers, SimpleNamespace(push=push))
    view = View(consumers, known(), {}, 0)
    for one in documents:
        assert view.absorb(one)
    return view, passed


async def test_documents_that_are_missing_are_passed_over_if_they_are_trimmed() -> None:
    view, passed = view_of(document(1))
    reader = cast(MongoReader, Ranges([document(1), document(4, prev=3)], ends(4)))
    assert await RangeReader(reader, 5.0).read(view)
    assert (seqs(passed), view.trimmed) == ([1, 4], 3)


@pytest.mark.parametrize("oldest", [ends(1), None])
async def test_documents_that_are_missing_between_others_are_another_history(oldest: DocumentEnds | None) -> None:
    view, _ = view_of(document(1))
    reader = cast(MongoReader, Ranges([document(1), document(4, prev=3)], oldest))
    with pytest.raises(HistoryChanged):
        await RangeReader(reader, 5.0).read(view)


async def test_a_view_that_is_filled_passes_over_a_document_that_was_deleted_in_the_middle() -> None:
    view, passed = view_of(document(1))
    view.filling = True
    reader = cast(MongoReader, Ranges([document(4, prev=3), document(5, prev=4)], ends(1)))
    assert await RangeReader(reader, 5.0).read(view)
    assert (seqs(passed), view.trimmed) == ([1, 4, 5], 0)
    assert view.rooms.between("a", 0, 5) == 5, "the messages that are missing count, too"


async def test_a_view_that_is_filled_takes_a_document_in_the_place_of_another() -> None:
    view, passed = view_of(document(1))
    view.filling = True
    other = document(2, prev=1)._replace(nonce=22)
    reader = cast(MongoReader, Ranges([document(1)._replace(nonce=11), other, document(3, prev=2)], ends(1)))
    assert await RangeReader(reader, 5.0).read(view)
    assert seqs(passed) == [1, 2, 3]


def test_a_view_that_another_one_has_replaced_passes_nothing_on() -> None:
    view, _ = view_of(document(1))
    view.abandoned = True
    view._consumers = cast(Consumers, None)  # a push would fail
    assert view.absorb(document(2, prev=1))
    view.trim(1)
    assert (view.newest, view.trimmed) == (2, 1)
