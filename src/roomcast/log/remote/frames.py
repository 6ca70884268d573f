"""The frames that a log process and its workers exchange: four bytes of length, then msgpack.

Both ends have the same version and run on one machine, and no other process can reach the socket. So there is no
negotiation. A frame that cannot be decoded is a defect: it ends the connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct as Layout
from typing import Any

import msgspec
from msgspec import Raw, Struct

from roomcast.log.base import Batch, Bounds, Idempotency, Page, RoomSort, RoomStats
from roomcast.model.message import Cut, Draft, Message
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection

_LENGTH = Layout("!I")


class Append(Struct, array_like=True, tag=0, frozen=True):
    """All appends of one turn of a worker's loop, numbered from `first` on."""

    first: int
    requests: list[tuple[list[Draft], Idempotency | None]]


class Call(Struct, array_like=True, tag=1, frozen=True):
    """A call of one of the log's other methods."""

    number: int
    method: str
    arguments: Raw


class Consume(Struct, array_like=True, tag=2, frozen=True):
    """A consumer begins. It has not asked for a batch yet."""

    number: int
    name: str
    after: int
    holds: bool


class Next(Struct, array_like=True, tag=3, frozen=True):
    """A consumer asks for its next batch; it has delivered the last one."""

    number: int


class Leave(Struct, array_like=True, tag=4, frozen=True):
    """A consumer ends."""

    number: int


class Tell(Struct, array_like=True, tag=5, frozen=True):
    """Something for all other workers."""

    topic: str
    payload: Raw


class Ask(Struct, array_like=True, tag=6, frozen=True):
    """A question to all other workers."""

    number: int
    topic: str
    payload: Raw


class Reply(Struct, array_like=True, tag=7, frozen=True):
    """A worker's answer to another one's question."""

    number: int
    payload: Raw


class Opened(Struct, array_like=True, tag=0, frozen=True):
    """The log's state: the first frame of a connection, and sent again after each change."""

    name: str
    epoch: str
    retention: Retention
    unwritable: str


Stored = tuple[int, int, int, list[int], bool]
"""An append's number, its first seq, its time (ms), the `prev` of each message, and whether the key was known. The
bodies are not sent back: the worker has them."""
Refused = tuple[int, str, str]
"""An append's or a call's number, the error's kind and its text."""


class Appended(Struct, array_like=True, tag=1, frozen=True):
    """The outcome of appends."""

    stored: list[Stored]
    refused: list[Refused]


class Result(Struct, array_like=True, tag=2, frozen=True):
    """The result of a call."""

    number: int
    value: Raw


class Failed(Struct, array_like=True, tag=3, frozen=True):
    """A call, or a consumer's request for a batch, failed."""

    number: int
    kind: str
    detail: str


class Given(Struct, array_like=True, tag=4, frozen=True):
    """A batch for a consumer."""

    number: int
    messages: Raw
    """An encoded `list[Message]`; encoded once for all workers."""
    trimmed: int
    position: int
    cuts: list[Cut]
    missed: int


class Ended(Struct, array_like=True, tag=5, frozen=True):
    """A consumer ended: the log was closed."""

    number: int


class Told(Struct, array_like=True, tag=6, frozen=True):
    """A message from another worker."""

    worker: int
    topic: str
    payload: Raw


class Asked(Struct, array_like=True, tag=7, frozen=True):
    """A question from another worker. The answer is a `Reply` with this number."""

    number: int
    topic: str
    payload: Raw


class Replies(Struct, array_like=True, tag=8, frozen=True):
    """The other workers' answers to a question; without those of workers that took too long."""

    number: int
    answers: list[tuple[int, Raw]]


class Revoked(Struct, array_like=True, tag=10, frozen=True):
    """All revocations that the log keeps: sent first, and after each change."""

    revocations: list[Revocation]


class Present(Struct, array_like=True, tag=9, frozen=True):
    """The other connected workers; sent whenever one comes or goes."""

    workers: list[int]


FromWorker = Append | Call | Consume | Next | Leave | Tell | Ask | Reply
FromLog = Opened | Appended | Result | Failed | Given | Ended | Told | Asked | Replies | Present | Revoked

CALLS: Mapping[str, tuple[Any, Any]] = {
    "read": (tuple[Selection, int, int, int | None], Page),
    "get": (tuple[int], Message | None),
    "seek_newest": (tuple[Selection, int, int | None], int),
    "seek_time": (tuple[Selection, int], int),
    "bounds": (tuple[()], Bounds),
    "rooms": (tuple[str, RoomSort, str | int | None, int], list[RoomStats]),
    "delete": (tuple[int], bool),
    "delete_room": (tuple[str], None),
    "revoke": (tuple[Revocation], None),
    "keep": (tuple[Retention], None),
}
"""The methods that can be called, with the types of their arguments and results."""

encode = msgspec.msgpack.Encoder().encode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
decode_from_log = msgspec.msgpack.Decoder(FromLog).decode
decode_messages = msgspec.msgpack.Decoder(list[Message]).decode
arguments_of = {name: msgspec.msgpack.Decoder(types[0]).decode for name, types in CALLS.items()}
result_of = {name: msgspec.msgpack.Decoder(types[1]).decode for name, types in CALLS.items()}


def framed(frame: Struct) -> bytes:
    """The bytes of a frame."""
    data = encode(frame)
    return _LENGTH.pack(len(data)) + data


def batch_of(given: Given) -> Batch:
    """The batch that a frame carries."""
    messages: Sequence[Message] = decode_messages(given.messages) or ()
    return Batch(messages, given.trimmed, given.position, given.cuts or (), given.missed)


class Splitter:
    """Splits arriving bytes into frames."""

    def __init__(self) -> None:
        self._rest = b""
        """The beginning of an incomplete frame."""
        self._parts: list[bytes] = []
        """Later pieces of it, as long as they are known not to complete it."""
        self._missing = 0
        """How many bytes must come before there can be another frame."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are complete now, without their lengths."""
        if self._missing > len(data):  # not joined yet: that would copy a frame of many megabytes for each piece
            self._parts.append(data)
            self._missing -= len(data)
            return
        if self._rest or self._parts:
            data = b"".join([self._rest, *self._parts, data])
            self._parts.clear()
        start, end = 0, len(data)
        while end - start >= 4:
            stop = start + 4 + _LENGTH.unpack_from(data, start)[0]
            if stop > end:
                break
            yield data[start + 4 : stop]
            start = stop
        self._rest = data[start:]
        needed = 4 + _LENGTH.unpack_from(self._rest)[0] if end - start >= 4 else 4
        self._missing = needed - (end - start) if end > start else 0
