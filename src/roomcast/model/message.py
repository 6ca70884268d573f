"""What a message is, once stored, and how it is named.

An id is `<epoch>-<seq>`: `seq` counts the messages of the whole log from 1 without a hole, `epoch` names this
life of the log. Ids are therefore ordered, and one id is a resume point for any set of rooms.
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
    """A message's id, and as well a position: everything up to and including `seq`."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> MessageId | None:
        """The id that `text` spells, or None where it spells none."""
        match = _ID.fullmatch(text)
        return cls(match[1], int(match[2])) if match else None


class Draft(NamedTuple):
    """A message that was validated and not yet stored."""

    room: str
    type: str | None
    """The SSE event type, or None."""
    body: bytes
    """Compact JSON, an object without id and timestamp; opaque to the log, and what retention counts."""


class Message(NamedTuple):
    """A stored message. A tuple, because hundreds of thousands are made a second."""

    seq: int
    room: str
    type: str | None
    stored_at: int
    """Milliseconds since 1970 UTC, never below that of the message before."""
    prev: int
    """An upper bound for the `seq` of the room's previous message, exact while the log remembers the room;
    0 where there was none."""
    body: bytes


class Cut(NamedTuple):
    """Messages of a room are gone, by its rule or because they were deleted."""

    room: str
    upto: int
    """What of it comes up to here must be looked for in the log."""
    gone: int
    """How many went."""


def new_epoch() -> str:
    """A random word that no other log, and no other life of this one, has: 50 bits."""
    return "".join(secrets.choice(_EPOCH_LETTERS) for _ in range(10))


def rfc3339(ms: int) -> str:
    """`2026-11-22T06:27:00.123Z` for milliseconds since 1970."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(256)
def _second(seconds: int) -> str:
    """Most messages share theirs with others: made anew each time, it was a sixth of a publish's time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def as_json(epoch: str, message: Message) -> bytes:
    """The message as its users see it: one line of JSON, with its id and timestamp."""
    seq, _, _, stored_at, _, body = message
    return b'{"id":"%b-%d",%b,"timestamp":"%b"}' % (epoch.encode(), seq, body[1:-1], _stamp(stored_at))


@lru_cache(256)
def _stamp(ms: int) -> bytes:
    return rfc3339(ms).encode()
