"""`GET /followers`: the followers, with their start and position, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from roomcast import tasks
from roomcast.api.parameters import Given, parameters, whole_number
from roomcast.api.request import JSON, Answer, Field, Head, Pieces, Request
from roomcast.delivery.budget import READERS_SHARE, Reservation
from roomcast.delivery.engine import Engine
from roomcast.delivery.stream import Stream, Visit
from roomcast.model.message import MessageId, rfc3339
from roomcast.model.shapes import FollowerInfo

MAX_PAGE = 1_000
DEFAULT_PAGE = 100
_MOST = 999_999_999
PARAMETERS = ("after", "behind", "limit")
_ROW_BYTES = 700
"""Bytes of a row without its rooms, in memory and as JSON."""


class Listing(NamedTuple):
    """The page that a head asks for."""

    after: int
    """The page begins after the follower with this number."""
    behind: int
    """Only followers with at least so many messages yet to come."""
    limit: int


def listing(head: Head) -> Listing:
    """The page that a head asks for. Raises `Invalid`, naming each bad parameter."""
    given = Given(parameters(head.query), PARAMETERS)
    asked = Listing(
        given.once("after", whole_number(_MOST)) or 0,
        given.once("behind", whole_number(_MOST)) or 0,
        given.once("limit", whole_number(MAX_PAGE)) or DEFAULT_PAGE,
    )
    given.check()
    return asked


async def followers(engine: Engine, request: Request, asked: Listing) -> Answer:
    """A page of this process's streams, with a link to the next page if there is one. Raises `Overloaded`."""
    found = await _found(engine, asked)
    page = found[: asked.limit]
    size = sum([_ROW_BYTES + sum(map(len, stream.selection.texts())) for _, stream in page])
    reserved = engine.answers.reserve(size, READERS_SHARE)
    own = [_next(request, asked, page[-1][0])] if len(found) > asked.limit else []
    return Answer.of_pieces(200, JSON, _pieces(engine, page, reserved), own)


_Found = tuple[Visit, Stream]


async def _found(engine: Engine, asked: Listing) -> Sequence[_Found]:
    """All that match. It yields the loop now and then: there may be 15,000."""
    streams, turns = engine.streams, tasks.Turns()
    found: list[_Found] = []
    for stream in list(streams.active):
        visit = stream.visit
        if visit and visit.number > asked.after and streams.lag(stream) >= asked.behind:
            found.append((visit, stream))
        await turns.next()
    return sorted(found, key=lambda pair: pair[0].number)


async def _pieces(engine: Engine, page: Sequence[_Found], held: Reservation) -> Pieces:
    turns = tasks.Turns()
    try:
        yield b'{"followers":['
        for number, (visit, stream) in enumerate(page):
            yield (b"," if number else b"") + msgspec.json.encode(_row(engine, visit, stream))
            await turns.next()
        yield b"]}"
    finally:
        held.release()


def _row(engine: Engine, visit: Visit, stream: Stream) -> FollowerInfo[str]:
    streams = engine.streams
    position = stream.position if stream in streams.behind else engine.hub.position
    return FollowerInfo(
        number=visit.number,
        since=rfc3339(visit.since),
        rooms=tuple(sorted(stream.selection.rooms)),
        prefixes=tuple(sorted(stream.selection.prefixes)),
        position=str(MessageId(engine.hub.epoch, position)),
        behind=streams.lag(stream),
        waiting=stream.waiting(),
        address=visit.address,
        principal=visit.principal,
        user_agent=visit.agent,
    )


def _next(request: Request, asked: Listing, last: Visit) -> Field:
    fields = {"after": last.number, "limit": asked.limit, **({"behind": asked.behind} if asked.behind else {})}
    return b"link", f'<{quote(request.head.mount)}/followers?{urlencode(fields)}>; rel="next"'.encode()
