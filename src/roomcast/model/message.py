"""Messages and their ids.

An id is `<epoch>-<seq>`. `seq` counts the messages of the whole log from 1 without a hole, and `epoch` names the
log's present life. Ids are therefore ordered, and one id is a resume point for any set of rooms.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from roomcast.model.shapes import ID_PATTERN

_ID = re.compile(ID_PATTERN)
_EPOCH_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


class MessageId(NamedTuple):
    """The id of a message. It is also a position: everything up to and including `seq`."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> MessageId | None:
        """Returns the id that `text` spells; None if it is not an id."""
        match = _ID.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None


class Draft(NamedTuple):
    """A message that is validated and not yet stored."""

    room: str
    type: str | None
    """The SSE event type, or None."""
    body: bytes
    """Compact JSON: an object without id and timestamp. Logs do not look into it, except the one in MongoDB, which
    stores its fields for people to read. Retention counts its bytes."""


class Message(NamedTuple):
    """A stored message. A tuple, since hundreds of thousands are made per second."""

    seq: int
    room: str
    type: str | None
    stored_at: int
    """Milliseconds since 1970 UTC, never lower than that of a retained message before it."""
    prev: int
    """The `seq` of the room's previous message; 0 if there was none. If the log has forgotten the room, it is an
    upper bound."""
    body: bytes


class Cut(NamedTuple):
    """Messages of a room that are gone because they were deleted, or because the room's rule removed them."""

    room: str
    upto: int
    """The room's messages up to this seq must be looked for in the log."""
    gone: int
    """How many are gone."""


def new_epoch() -> str:
    """Returns a random word of 50 bits, so that no other log, and no other life of this one, has it."""
    return "".join(secrets.choice(_EPOCH_LETTERS) for _ in range(10))


def rfc3339(ms: int) -> str:
    """Returns `ms`, milliseconds since 1970, as text: `2026-11-22T06:27:00.123Z`."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(256)
def _second(seconds: int) -> str:
    """Cached: most messages share their second with others. Uncached, it took a sixth of a publish's time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def as_json(epoch: str, message: Message) -> bytes:
    """Returns the message as clients see it: one line of JSON, with its id and timestamp. `epoch` is the log's."""
    seq, _, _, stored_at, _, body = message
    return b'{"id":"%b-%d",%b,"timestamp":"%b"}' % (epoch.encode(), seq, body[1:-1], _stamp(stored_at))


@lru_cache(256)
def _stamp(ms: int) -> bytes:
    return rfc3339(ms).encode()
