"""The appends that fit into a document of MongoDB. No database."""

from __future__ import annotations

import json

import bson
import pytest

from roomcast.log.mongodb.documents import AppendDocument, check_fits, to_document
from roomcast.log.trimming import Trimming
from roomcast.model.draft import parse_json
from roomcast.model.errors import TooLarge
from roomcast.model.message import Draft, Message

MIB = 1024 * 1024


def drafts(count: int, size: int, *, odd: str = "") -> list[Draft]:
    """`count` messages whose bodies have `size` bytes, as the server makes them. Their texts begin with `odd`."""
    [least] = parsed(odd + "x")
    return parsed(odd + "x" * (size - len(least.body) + 1)) * count


def parsed(text: str) -> list[Draft]:
    return list(parse_json(json.dumps({"room": "a", "text": text}).encode(), 16 * MIB).drafts)


def document_bytes(appended: list[Draft]) -> int:
    messages = [Message(seq, draft.room, None, 1000, 0, draft.body) for seq, draft in enumerate(appended, 1)]
    before = [Trimming(0, 0, 0)] * len(messages)
    return len(bson.encode(to_document(AppendDocument(messages, before, 1, 1, 0, 1))))


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("count", [1, 10])
def test_a_body_that_is_stored_twice_counts_twice(odd: str, count: int) -> None:
    too_large = drafts(count, 9 * MIB // count, odd=odd)
    assert document_bytes(too_large) > 16 * MIB
    with pytest.raises(TooLarge, match="a document of MongoDB has at most 16 MiB"):
        check_fits(too_large)
    fitting = drafts(count, 7 * MIB // count, odd=odd)
    check_fits(fitting)
    assert document_bytes(fitting) < 16 * MIB


def test_a_body_that_is_stored_once_counts_once() -> None:
    fitting = drafts(1, 14 * MIB)
    check_fits(fitting)
    assert document_bytes(fitting) < 16 * MIB
    with pytest.raises(TooLarge):
        check_fits(drafts(1, 15 * MIB))
