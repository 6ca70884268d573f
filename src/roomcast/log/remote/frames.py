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


class AppendTurn(Struct, array_like=True, tag=0, frozen=True):
    """All appends of one turn of a worker's loop, numbered from `first` on."""

    first: int
    requests: list[tuple[list[Draft], Idempotency | None]]


class MethodCall(Struct, array_like=True, tag=1, frozen=True):
    """A call of another method of the log."""

    number: int
    method: str
    arguments: Raw


class OpenConsumer(Struct, array_like=True, tag=2, frozen=True):
    """A consumer begins after the seq `after`. It has not requested a batch yet."""

    number: int
    name: str
    after: int


class NextBatch(Struct, array_like=True, tag=3, frozen=True):
    """A consumer requests its next batch; it has delivered the last one."""

    number: int


class CloseConsumer(Struct, array_like=True, tag=4, frozen=True):
    """A consumer ends."""

    number: int


class Tell(Struct, array_like=True, tag=5, frozen=True):
    """A message to all other workers."""

    topic: str
    payload: Raw


class AskPeers(Struct, array_like=True, tag=6, frozen=True):
    """A question to all other workers."""

    number: int
    topic: str
    payload: Raw


class PeerReply(Struct, array_like=True, tag=7, frozen=True):
    """A worker's answer to another one's question."""

    number: int
    payload: Raw


class LogStatus(Struct, array_like=True, tag=0, frozen=True):
    """The log's attributes. Follows the revocations at the start of a connection; sent again within a second of a
    change."""

    name: str
    epoch: str
    retention: Retention
    unwritable: str


Stored = tuple[int, int, int, list[int], bool]
"""An append's number, its first seq, its time (ms since 1970), the `prev` of each message, and whether the key was
known. The bodies are not sent back: the worker has them."""
Refused = tuple[int, str, str]
"""An append's number, the error's kind and its text."""


class AppendOutcomes(Struct, array_like=True, tag=1, frozen=True):
    """The outcomes of appends."""

    stored: list[Stored]
    refused: list[Refused]


class CallResult(Struct, array_like=True, tag=2, frozen=True):
    """The result of a call."""

    number: int
    value: Raw


class RequestFailed(Struct, array_like=True, tag=3, frozen=True):
    """A call, or a consumer's request for a batch, failed."""

    number: int
    kind: str
    detail: str


class ConsumerBatch(Struct, array_like=True, tag=4, frozen=True):
    """A batch for a consumer."""

    number: int
    messages: Raw
    """An encoded `list[Message]`; encoded once for all workers."""
    trimmed: int
    position: int
    cuts: list[Cut]
    missed: int


class ConsumerEnded(Struct, array_like=True, tag=5, frozen=True):
    """A consumer ended: the log was closed, or the worker sent `CloseConsumer`."""

    number: int


class Told(Struct, array_like=True, tag=6, frozen=True):
    """A message from another worker."""

    worker: int
    topic: str
    payload: Raw


class PeerQuestion(Struct, array_like=True, tag=7, frozen=True):
    """A question from another worker. The answer is a `PeerReply` with this number."""

    number: int
    topic: str
    payload: Raw


class PeerReplies(Struct, array_like=True, tag=8, frozen=True):
    """The answers of the other workers and of the log process (number 0) to a question; without those of workers
    that took too long."""

    number: int
    answers: list[tuple[int, Raw]]


class RevocationList(Struct, array_like=True, tag=10, frozen=True):
    """All revocations that the log keeps; sent first, and after each change."""

    revocations: list[Revocation]


class PeersPresent(Struct, array_like=True, tag=9, frozen=True):
    """The numbers of the other connected workers; sent whenever one comes or goes."""

    workers: list[int]


FromWorker = AppendTurn | MethodCall | OpenConsumer | NextBatch | CloseConsumer | Tell | AskPeers | PeerReply
FromLog = (
    LogStatus
    | AppendOutcomes
    | CallResult
    | RequestFailed
    | ConsumerBatch
    | ConsumerEnded
    | Told
    | PeerQuestion
    | PeerReplies
    | PeersPresent
    | RevocationList
)

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
    "set_rules": (tuple[Retention], None),
}
"""The methods that a worker can call, with the types of their arguments and of their result."""

encode = msgspec.msgpack.Encoder().encode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
decode_from_log = msgspec.msgpack.Decoder(FromLog).decode
decode_messages = msgspec.msgpack.Decoder(list[Message]).decode
arguments_of = {name: msgspec.msgpack.Decoder(types[0]).decode for name, types in CALLS.items()}
result_of = {name: msgspec.msgpack.Decoder(types[1]).decode for name, types in CALLS.items()}


def framed(frame: Struct) -> bytes:
    """The bytes of `frame`, with its length in front."""
    data = encode(frame)
    return _LENGTH.pack(len(data)) + data


def batch_of(frame: ConsumerBatch) -> Batch:
    """The batch that `frame` carries."""
    messages: Sequence[Message] = decode_messages(frame.messages) or ()
    return Batch(messages, frame.trimmed, frame.position, frame.cuts or (), frame.missed)


class Splitter:
    """Splits arriving bytes into frames."""

    def __init__(self) -> None:
        self._incomplete = b""
        """The beginning of an incomplete frame."""
        self._parts: list[bytes] = []
        """Later pieces of that frame, while they cannot complete it."""
        self._missing = 0
        """How many bytes must still arrive before another frame can be complete."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Takes `data`, which has arrived. Yields the frames that are complete now, without their lengths; all of
        them must be taken before the next call."""
        if self._missing > len(data):  # not joined yet: that would copy a frame of many megabytes for each piece
            self._parts.append(data)
            self._missing -= len(data)
            return
        if self._incomplete or self._parts:
            data = b"".join([self._incomplete, *self._parts, data])
            self._parts.clear()
        start, end = 0, len(data)
        while end - start >= 4:
            stop = start + 4 + _LENGTH.unpack_from(data, start)[0]
            if stop > end:
                break
            yield data[start + 4 : stop]
            start = stop
        self._incomplete = data[start:]
        needed = 4 + _LENGTH.unpack_from(self._incomplete)[0] if end - start >= 4 else 4
        self._missing = needed - (end - start) if end > start else 0
