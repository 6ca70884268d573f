"""Converts an append to a document, and back. Knows BSON's types, but no client and no connection.

A document has two kinds of fields. People read `room`, `user`, `text` and `timestamp`, as in the original example;
roomcast needs `roomcast` and `prev`:

    {_id: 1042, room: "developers", user: "anonymous", text: "…", timestamp: ISODate("…"),
     prev: {seq: 1040, at: ISODate("…"), count: 17},
     roomcast: {last: 1042, nonce: …, after: …, before: 81234, size: 71}}

A batch is one document, too, because a capped collection has no transactions. Its `_id` is its first seq; `room`
lists the rooms of its `messages` in their order.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from bson import DatetimeMS, Int64
from msgspec import UNSET, Raw, Struct, UnsetType

from roomcast.log.sequencer import KeyedAppend
from roomcast.log.trimming import Trimming
from roomcast.model.errors import TooLarge
from roomcast.model.message import Draft, Message

Document = Mapping[str, Any]

BATCH = 1_000
"""The size of the longest batch. The `_id` of a message's document is lower than its seq by less than this."""
_DOCUMENT_BYTES = 15 * 1024 * 1024
"""A document may have 16 MiB, including its field names."""
_MESSAGE_BYTES = 400
"""The bytes that a message is assumed to take in addition to its body."""


class AppendDocument(NamedTuple):
    """One append as the collection stores it."""

    messages: Sequence[Message]
    rooms_before: Sequence[Trimming]
    """For each message, the state of its room before it: the newest message, its time, and how many there ever
    were."""
    nonce: int
    """A random number of this write: two documents with the same `_id` and nonce are the same."""
    previous_nonce: int
    """The nonce of the document before it; 0 if not known. If the document before it has another nonce, this
    document belongs to another history."""
    bytes_before: int
    """The sum of all bodies before it, from the log's beginning, in bytes."""
    size: int
    """The sum of its own bodies, in bytes."""
    key: str | None = None
    """Its idempotency key with the scope, as `key_of` joins them."""
    digest: bytes = b""
    """The hash of the request that had this key."""

    @property
    def first(self) -> int:
        """The seq of its first message, and its `_id`."""
        return self.messages[0].seq

    @property
    def last(self) -> int:
        """The seq of its last message."""
        return self.messages[-1].seq

    @property
    def stored_at(self) -> int:
        """When all its messages were stored, in ms since 1970."""
        return self.messages[0].stored_at


class DocumentEnds(NamedTuple):
    """The part of a document that tells where the log begins or ends, without its messages."""

    first: int
    last: int
    stored_at: int
    bytes_before: int
    size: int
    nonce: int


ENDS = {"roomcast": 1, "timestamp": 1}
"""The projection for `DocumentEnds`."""


class _Fields(Struct, forbid_unknown_fields=True):
    """A message's body, with its fields in the order in which the server writes them."""

    room: str
    user: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


_fields = msgspec.json.Decoder(_Fields)
_encode = msgspec.json.Encoder().encode


def new_nonce() -> int:
    """63 random bits, which fit into BSON's signed 64-bit number."""
    return secrets.randbits(63)


def key_of(scope: str, key: str) -> str:
    """Joins `scope` and `key` to a string that no other pair gives."""
    return f"{len(scope)}:{scope}{key}"


def check_fits(drafts: Sequence[Draft]) -> None:
    """Raises `TooLarge` if an append of `drafts` does not fit into a document: 15 MiB, or `BATCH` messages. A body
    with U+0085, U+2028 or U+2029 counts twice, since it is stored as its fields and as itself."""
    if len(drafts) > BATCH:
        raise TooLarge(f"These are {len(drafts)} messages, and a batch has at most {BATCH}.")
    size = sum([len(draft.body) + _MESSAGE_BYTES for draft in drafts])
    if 2 * size > _DOCUMENT_BYTES:  # only then can it matter which bodies are stored twice
        size += sum(len(draft.body) for draft in drafts if _is_stored_twice(draft))
    if size > _DOCUMENT_BYTES:
        raise TooLarge(
            f"These are {size} bytes, and a document of MongoDB has at most 16 MiB: send several batches."
        )


def to_document(entry: AppendDocument) -> dict[str, Any]:
    """The document to insert for `entry`. All numbers have 64 bits, so that equal numbers are equal on every
    server."""
    parts = [_part(message, before) for message, before in zip(entry.messages, entry.rooms_before, strict=True)]
    if len(parts) == 1:
        [document] = parts
    else:
        document = {"room": [message.room for message in entry.messages], "messages": parts}
    own: dict[str, Any] = {
        "last": Int64(entry.last),
        "nonce": Int64(entry.nonce),
        "after": Int64(entry.previous_nonce),
        "before": Int64(entry.bytes_before),
        "size": Int64(entry.size),
    }
    if entry.key is not None:
        own |= {"key": entry.key, "digest": entry.digest}
    at = DatetimeMS(entry.stored_at)
    return {"_id": Int64(entry.first), **document, "timestamp": at, "roomcast": own}


def _part(message: Message, before: Trimming) -> dict[str, Any]:
    prev = {"seq": Int64(before.seq), "at": DatetimeMS(before.at), "count": Int64(before.lost)}
    part = {"room": message.room, **_readable(message), "prev": prev}
    if message.type is not None:
        part["type"] = message.type
    return part


def _is_stored_twice(draft: Draft) -> bool:
    """Whether the document has both the fields of a body and the body itself. The fields are never longer than the
    body."""
    named = _readable(draft)
    return "body" in named and len(named) > 1


def _readable(message: Message | Draft) -> dict[str, Any]:
    """The body's fields, and also the body itself if the fields would not give back the same bytes. `data` is a
    string of JSON: BSON changes numbers and refuses some names."""
    try:
        fields = _fields.decode(message.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {"body": message.body}
    named = {name: value for name in ("user", "text") if (value := getattr(fields, name)) is not UNSET}
    if fields.data is not UNSET:
        named["data"] = bytes(fields.data).decode()
    if _body(message.room, message.type, named) != message.body:
        named["body"] = message.body
    return named


def _body(room: str, type_: str | None, named: Mapping[str, Any]) -> bytes:
    data = named.get("data")
    return _encode(
        _Fields(
            room,
            named.get("user", UNSET),
            named.get("text", UNSET),
            UNSET if type_ is None else type_,
            UNSET if data is None else Raw(data),
        )
    )


def from_document(document: Document) -> AppendDocument:
    """The append that `to_document` made `document` from. Raises `LookupError`, `TypeError` or `ValueError`
    for a document of another program."""
    own = document["roomcast"]
    parts = document.get("messages", (document,))
    # Converted, as BSON's 64-bit numbers have a class of their own.
    first, at = int(document["_id"]), int(document["timestamp"])
    return AppendDocument(
        [_message(first + number, at, part) for number, part in enumerate(parts)],
        [_trimmed(part["prev"]) for part in parts],
        int(own["nonce"]),
        int(own["after"]),
        int(own["before"]),
        int(own["size"]),
        own.get("key"),
        own.get("digest", b""),
    )


def ends_of(document: Document) -> DocumentEnds:
    """The ends of `document`, which has at least the fields of `ENDS`. Raises as `from_document` does."""
    own = document["roomcast"]
    at, first, last = int(document["timestamp"]), int(document["_id"]), int(own["last"])
    return DocumentEnds(first, last, at, int(own["before"]), int(own["size"]), int(own["nonce"]))


def keyed_append(document: Document) -> tuple[str, KeyedAppend]:
    """The idempotency key of `document`, and its append. `document` has at least the fields of `ENDS`, and a key.
    Raises as `from_document` does."""
    own, ends = document["roomcast"], ends_of(document)
    return own["key"], KeyedAppend(own.get("digest", b""), ends.first, ends.last - ends.first + 1, ends.stored_at)


def rooms_of(document: Document) -> list[tuple[int, str]]:
    """The seq and the room of each message of `document`, which has at least the field `room`. Raises as
    `from_document` does."""
    room = document["room"]
    return list(enumerate([room] if isinstance(room, str) else room, int(document["_id"])))


def _message(seq: int, at: int, part: Document) -> Message:
    room, type_ = part["room"], part.get("type")
    body = part.get("body")
    if body is None:
        body = _body(room, type_, part)
    return Message(seq, room, type_, at, int(part["prev"]["seq"]), body)


def _trimmed(prev: Document) -> Trimming:
    return Trimming(int(prev["seq"]), int(prev["at"]), int(prev["count"]))
