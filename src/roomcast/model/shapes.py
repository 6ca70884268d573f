"""The server's JSON answers; each shape is declared here once.

The server writes these, `/openapi.json` describes them, and the client reads and extends them. Only types are
checked here: a client must be able to read a later version's answers. The rules for publishers are in `fields`.

`Time` differs between the sides: text in the server, a `datetime` in the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from roomcast.model.errors import Fault

ID_PATTERN = "([a-z0-9]{4,12})-(0|[1-9][0-9]{0,17})"
GAP_REASONS = ("trimmed", "deleted", "epoch", "future", "malformed")
PROBLEM_TYPE = "urn:problem-type:roomcast:"
"""Prefix of an error's kind."""

Time = TypeVar("Time")
Item = TypeVar("Item")

Id = Annotated[str, Meta(extra_json_schema={"pattern": f"^{ID_PATTERN}$", "examples": ["k3v9qa-1042"]})]
_Time = Annotated[Time, Meta(extra_json_schema={"type": "string", "format": "date-time"})]
_AtLeastOne = Annotated[int, Meta(extra_json_schema={"minimum": 1})]
# Described but not checked: a reason added by a later version must not end a client's stream.
_Reason = Annotated[str, Meta(extra_json_schema={"enum": GAP_REASONS})]


class StoredMessage(Struct, Generic[Time], frozen=True):
    """A stored message."""

    id: Id
    room: str
    user: str
    timestamp: Annotated[
        _Time[Time],
        Meta(description="When it was stored, in UTC; never earlier than the message before it."),
    ]
    text: str | None = None
    type: str | None = None
    data: Any = None


class Gap(Struct, frozen=True):
    """Messages of `rooms` after `after` that are, or may be, no longer retained."""

    after: Annotated[str | None, Meta(description="The id up to which `rooms` are complete; null for a `since`.")]
    resumes_at: Annotated[
        str | None, Meta(description="The id of the message that comes next; null where there is none yet.")
    ]
    rooms: tuple[str, ...]
    lost_at_most: Annotated[_AtLeastOne | None, Meta(description="Null where it cannot be known.")]
    reason: _Reason
    prefixes: Annotated[
        tuple[str, ...] | UnsetType,
        Meta(
            description="The prefixes concerned, if the client follows by prefix. `rooms` then names at most 64 "
            "rooms, and none if it cannot be known which."
        ),
    ] = UNSET


class Live(Struct, frozen=True, omit_defaults=True):
    """The replay is over: all later messages are new."""

    replayed: Annotated[int, Meta(description="How many messages this stream replayed.")]
    expires_in: Annotated[
        int | None,
        Meta(description="Seconds until the credential ends, and the stream with it; left out if never."),
    ] = None


class HistoryPage(Struct, Generic[Item], frozen=True):
    """A page of history."""

    messages: Annotated[Sequence[Item], Meta(description="Oldest first.")]
    position: Annotated[
        Id, Meta(description="The id from which a follow continues without a seam, also after an empty page.")
    ]
    gap: Gap | None


class Room(Struct, Generic[Time], frozen=True):
    """A room that has messages or followers."""

    room: str
    messages: Annotated[int, Meta(description="Retained now.")]
    newest: Annotated[str | None, Meta(description="The id of its newest message.")]
    newest_at: Annotated[_Time[Time] | None, Meta(description="When that was stored.")]
    followers: Annotated[int, Meta(description="How many streams follow it by name.")]
    oldest_at: Annotated[
        _Time[Time] | UnsetType, Meta(description="When its oldest message was stored; where it has a rule.")
    ] = UNSET
    max_messages: Annotated[int | UnsetType | None, Meta(description="By its rule, if it has one.")] = UNSET
    max_bytes: Annotated[int | UnsetType | None, Meta(description="By its rule.")] = UNSET
    max_age: Annotated[float | UnsetType | None, Meta(description="By its rule, in seconds.")] = UNSET


class Rooms(Struct, Generic[Item], frozen=True):
    """A page of the rooms."""

    rooms: Sequence[Item]


class FollowerInfo(Struct, Generic[Time], frozen=True):
    """One follower's stream, and how far it has come."""

    worker: Annotated[int, Meta(description="The worker that serves it; 1 where there is one process.")]
    number: Annotated[int, Meta(description="Each worker numbers its streams as they begin, from its start on.")]
    since: _Time[Time]
    rooms: tuple[str, ...]
    prefixes: tuple[str, ...]
    position: Annotated[str, Meta(description="All up to this id was written to it.")]
    behind: Annotated[
        int, Meta(description="Messages of the whole log that it has yet to pass; 0: it is caught up.")
    ]
    waiting: Annotated[int, Meta(description="Bytes that its client has yet to take.")]
    address: Annotated[str, Meta(description="The client's; behind trusted proxies, the one that they name.")]
    principal: Annotated[str, Meta(description="The principal of its credential; empty without one.")]
    user_agent: Annotated[str, Meta(description="As its client sent it, 200 characters at most.")]


class Followers(Struct, Generic[Item], frozen=True):
    """A page of the streams of all workers, the oldest first."""

    followers: Sequence[Item]
    missing: Annotated[Sequence[int], Meta(description="Workers that did not answer: their streams are left out.")]


class Health(Struct, frozen=True):
    """The process answers."""

    status: str
    version: str
    time: Annotated[str, Meta(description="By the server's clock.", extra_json_schema={"format": "date-time"})]


class Ready(Struct, frozen=True):
    """The log answers and the tail is current, at one or more of the server's workers."""

    status: str
    position: Annotated[str, Meta(description="The id of the newest message delivered.")]
    writable: Annotated[bool, Meta(description="Whether the last write to the log succeeded.")]
    missing: Annotated[
        Sequence[int], Meta(description="Workers that do not answer, or do not serve as promised now.")
    ]
    detail: Annotated[
        str | UnsetType,
        Meta(description="Why the last write failed or workers are missing; for those who may read the metrics."),
    ] = UNSET


class NotReady(Struct, frozen=True):
    """The log does not answer, or the tail is behind."""

    status: str
    detail: Annotated[str | UnsetType, Meta(description="Why; for those who may read the metrics.")] = UNSET


class Problem(Struct, frozen=True):
    """Why a request was refused: RFC 9457."""

    type: str
    title: str
    status: int
    detail: Annotated[str, Meta(description="What is wrong, and what to do.")]
    errors: Sequence[Fault]
