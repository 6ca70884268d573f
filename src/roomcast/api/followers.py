"""`GET /followers`: the followers, with their start and position, in pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from roomcast import tasks
from roomcast.api.answer import JSON, Answer, Field, Pieces
from roomcast.api.parameters import QueryParameters, parameters, whole_number
from roomcast.api.request import Head, Request
from roomcast.delivery.budget import READERS_SHARE, Reservation
from roomcast.delivery.engine import Engine
from roomcast.delivery.follower_list import Key

MAX_PAGE = 1_000
DEFAULT_PAGE = 100
MAX_BEHIND = 999_999_999
PARAMETERS = ("after", "behind", "limit")
_KEY = re.compile(r"(\d{1,15})-(\d{1,3})-(\d{1,15})", re.ASCII)
_FIRST: Key = (0, 0, 0)


class FollowersQuery(NamedTuple):
    """The requested page."""

    after: Key
    """The page begins after the follower with this key."""
    behind: int
    """Only followers that are at least this many messages behind."""
    limit: int


def parse_query(head: Head) -> FollowersQuery:
    """Reads the query of `head`. Raises `Invalid`, naming each bad parameter."""
    given = QueryParameters(parameters(head.query), PARAMETERS)
    query = FollowersQuery(
        given.once("after", _key) or _FIRST,
        given.once("behind", whole_number(MAX_BEHIND)) or 0,
        given.once("limit", whole_number(MAX_PAGE)) or DEFAULT_PAGE,
    )
    given.check()
    return query


def _key(value: str) -> Key:
    if not (match := _KEY.fullmatch(value)):
        raise ValueError("must be copied from the link to the next page")
    since, worker, number = map(int, match.groups())
    return since, worker, number


async def followers(engine: Engine, request: Request, query: FollowersQuery) -> Answer:
    """`GET /followers`: the page that `query` asks for, of the streams of all workers of `engine`, oldest first.
    It links to the next page, if there is one, below the mount of `request`. Raises `Overloaded`."""
    places, missing = await engine.follower_list.places(query.after, query.behind, query.limit + 1)
    page = places[: query.limit]
    reservation = engine.answers.reserve(sum([place.size for place in page]), READERS_SHARE)
    rows, gone = await engine.follower_list.rows(page)
    own = [_next(request, query, page[-1].key)] if len(places) > query.limit else []
    return Answer.of_pieces(200, JSON, _pieces(rows, sorted({*missing, *gone}), reservation), own)


async def _pieces(rows: Sequence[bytes], missing: Sequence[int], reservation: Reservation) -> Pieces:
    turns = tasks.Turns()
    try:
        yield b'{"followers":['
        for number, row in enumerate(rows):
            yield (b"," if number else b"") + row
            await turns.next()
        yield b'],"missing":' + msgspec.json.encode(missing) + b"}"
    finally:
        reservation.release()


def _next(request: Request, query: FollowersQuery, last: Key) -> Field:
    after = "-".join(map(str, last))
    fields = {"after": after, "limit": query.limit, **({"behind": query.behind} if query.behind else {})}
    return b"link", f'<{quote(request.head.mount)}/followers?{urlencode(fields)}>; rel="next"'.encode()
