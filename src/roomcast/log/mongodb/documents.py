"""One append as one document, and back. Knows BSON's shapes, no client and no connection.

A document is for two readers. A person finds `room`, `user`, `text` and `timestamp`, as in the original example;
`roomcast` and `prev` are for us:

    {_id: 1042, room: "developers", user: "anonymous", text: "…", timestamp: ISODate("…"),
     prev: {seq: 1040, at: ISODate("…"), count: 17},
     roomcast: {last: 1042, nonce: …, after: …, before: 81234, size: 71}}

A batch is one document as well, because a capped collection takes no transactions: `_id` is its first seq, `room`
lists its rooms, one for each of its `messages`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from bson import DatetimeMS, Int64
from msgspec import UNSET, Raw, Struct, UnsetType

from roomcast.log.trimming import Trimmed
from roomcast.model.message import Message

Document = Mapping[str, Any]


class Entry(NamedTuple):
    """One append, as the collection has it."""

    messages: Sequence[Message]
    before: Sequence[Trimmed]
    """For each message what its room was before it: its newest, when that came, how many there ever were."""
    nonce: int
    """A random number of this write: two documents with one `_id` and one nonce are the same."""
    after: int
    """The nonce of the document before; 0 where nothing is known of that. One that says otherwise follows another
    history than the one we read."""
    bytes_before: int
    """The sum of all bodies before."""
    size: int
    """The sum of its own."""
    key: str | None = None
    """Its idempotency key, with the scope."""
    digest: bytes = b""

    @property
    def first(self) -> int:
        return self.messages[0].seq

    @property
    def last(self) -> int:
        return self.messages[-1].seq

    @property
    def stored_at(self) -> int:
        return self.messages[0].stored_at


class Mark(NamedTuple):
    """What of a document tells where the log begins or ends, without its messages."""

    first: int
    last: int
    stored_at: int
    bytes_before: int
    size: int
    nonce: int


MARK = {"roomcast": 1, "timestamp": 1}
"""The projection that gives it."""


class _Fields(Struct, forbid_unknown_fields=True):
    """A body, in the order in which it is written."""

    room: str
    user: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


_fields = msgspec.json.Decoder(_Fields)
_encode = msgspec.json.Encoder().encode


def nonce() -> int:
    """63 random bits."""
    return secrets.randbits(63)


def key_of(scope: str, key: str) -> str:
    """A scope and a key as one string that no other two give."""
    return f"{len(scope)}:{scope}{key}"


def to_document(entry: Entry) -> dict[str, Any]:
    """As it is inserted. Numbers are 64 bits wide whatever their size, so that equal ones are equal everywhere."""
    parts = [_part(message, before) for message, before in zip(entry.messages, entry.before, strict=True)]
    if len(parts) == 1:
        [document] = parts
    else:
        document = {"room": [message.room for message in entry.messages], "messages": parts}
    ours: dict[str, Any] = {
        "last": Int64(entry.last),
        "nonce": Int64(entry.nonce),
        "after": Int64(entry.after),
        "before": Int64(entry.bytes_before),
        "size": Int64(entry.size),
    }
    if entry.key is not None:
        ours |= {"key": entry.key, "digest": entry.digest}
    at = DatetimeMS(entry.stored_at)
    return {"_id": Int64(entry.first), **document, "timestamp": at, "roomcast": ours}


def _part(message: Message, before: Trimmed) -> dict[str, Any]:
    prev = {"seq": Int64(before.seq), "at": DatetimeMS(before.at), "count": Int64(before.lost)}
    part = {"room": message.room, **_readable(message), "prev": prev}
    if message.type is not None:
        part["type"] = message.type
    return part


def _readable(message: Message) -> dict[str, Any]:
    """The body's fields; and the body itself where they would not give it back to the byte. `data` is a string of
    JSON: BSON changes numbers and refuses some names."""
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


def from_document(document: Document) -> Entry:
    """What `to_document` was given. Raises `LookupError`, `TypeError` or `ValueError` for a foreign document."""
    ours = document["roomcast"]
    parts = document.get("messages", (document,))
    # Not as they come: BSON's numbers of 64 bits are of a class of their own.
    first, at = int(document["_id"]), int(document["timestamp"])
    return Entry(
        [_message(first + number, at, part) for number, part in enumerate(parts)],
        [_before(part["prev"]) for part in parts],
        int(ours["nonce"]),
        int(ours["after"]),
        int(ours["before"]),
        int(ours["size"]),
        ours.get("key"),
        ours.get("digest", b""),
    )


def mark_of(document: Document) -> Mark:
    """Raises as `from_document` does."""
    ours = document["roomcast"]
    at, first, last = int(document["timestamp"]), int(document["_id"]), int(ours["last"])
    return Mark(first, last, at, int(ours["before"]), int(ours["size"]), int(ours["nonce"]))


def _message(seq: int, at: int, part: Document) -> Message:
    room, type_ = part["room"], part.get("type")
    body = part.get("body")
    if body is None:
        body = _body(room, type_, part)
    return Message(seq, room, type_, at, int(part["prev"]["seq"]), body)


def _before(prev: Document) -> Trimmed:
    return Trimmed(int(prev["seq"]), int(prev["at"]), int(prev["count"]))
