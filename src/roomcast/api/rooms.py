"""`GET /rooms`: the rooms that hold messages or are followed, in pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from roomcast.api.answer import JSON, Answer, Field, Pieces
from roomcast.api.parameters import QueryParameters, parameters, whole_number
from roomcast.api.query import prefix_fault
from roomcast.api.request import Head, Request
from roomcast.auth.grants import Grants
from roomcast.delivery.budget import READERS_SHARE, Reservation
from roomcast.delivery.engine import Engine
from roomcast.log.base import ROOMS_PAGE, RoomSort, RoomStats
from roomcast.model.message import MessageId, rfc3339
from roomcast.model.shapes import Room

PARAMETERS = ("prefix", "sort", "after", "limit")
_ROWS_A_TURN = 100
"""Rows of a page that are encoded before other tasks have the loop; a whole page takes some 3 ms."""

_MAX_PAGES = 10
"""Maximum number of the log's pages that are searched for the newest readable rooms. If that is not enough, the
answer is short and has a link to go on."""
_MAX_LOOKUPS = 64
"""Maximum number of grants that are looked up for rooms by name: as many as a ticket may have."""


_ROW_BYTES = 500
"""Bytes of a row without its name, in memory and as JSON."""


class RoomsQuery(NamedTuple):
    """The requested page."""

    prefix: str
    sort: RoomSort
    after: str | None
    """The name of the room after which the page begins; with `sort=newest`, that room's newest id."""
    limit: int


def parse_query(head: Head) -> RoomsQuery:
    """Reads the query of `head`. Raises `Invalid`, naming each bad parameter."""
    given = QueryParameters(parameters(head.query), PARAMETERS)
    sort = given.once("sort", _sort) or "name"
    query = RoomsQuery(
        given.once("prefix", _name) or "",
        sort,
        given.once("after", _name if sort == "name" else _id) or None,
        given.once("limit", whole_number(ROOMS_PAGE)) or ROOMS_PAGE,
    )
    given.check()
    return query


async def rooms(engine: Engine, request: Request, query: RoomsQuery) -> Answer:
    """`GET /rooms`: the page that `query` asks for, of the rooms of `engine` that the client of `request` may
    read. It links to the next page if there may be one. Raises `Overloaded` and `LogUnavailable`."""
    rows, last = await _rows(engine, query, request.principal.read)
    followers = await engine.followed.counts([room for room, _ in rows])
    reservation = engine.answers.reserve(sum([len(room) + _ROW_BYTES for room, _ in rows]), READERS_SHARE)
    own = [] if last is None else [_next(engine, request, query, last)]
    return Answer.of_pieces(200, JSON, _pieces(engine, rows, followers, reservation), own)


Row = tuple[str, RoomStats | None]
"""A room and its messages' stats; None if it holds no messages."""


async def _rows(engine: Engine, query: RoomsQuery, readable: Grants) -> tuple[list[Row], Row | None]:
    """The readable rows, and the row after which the next page begins; None if this is the last page."""
    return await (_by_name if query.sort == "name" else _by_newest)(engine, query, readable)


async def _by_name(engine: Engine, query: RoomsQuery, readable: Grants) -> tuple[list[Row], Row | None]:
    """Looks up only granted rooms. The link to the next page holds a room's name, which must not be that of an
    unreadable room."""
    rows: list[Row] = []
    end: Row | None = None
    for lookups, (part, is_prefix) in enumerate(_granted(query, readable)):
        if lookups == _MAX_LOOKUPS:
            return rows, end
        page = await _page(engine, part._replace(limit=min(part.limit, query.limit - len(rows))))
        found = [row for row in page if row[0] in readable and (is_prefix or row[0] == part.prefix)]
        rows += found
        if len(rows) == query.limit:
            return rows, rows[-1]
        end = found[-1] if found else (part.prefix, None)
    return rows, None


def _granted(query: RoomsQuery, readable: Grants) -> Iterator[tuple[RoomsQuery, bool]]:
    """The parts of a query that are granted, in order. Each says whether it is for all rooms with its prefix, or
    only for the room with that name."""
    after = query.after or ""
    for name, is_prefix in readable.ranges():
        if not is_prefix:
            if name.startswith(query.prefix) and name > after:
                yield query._replace(prefix=name, limit=1, after=None), False
            continue
        inner, outer = max((name, query.prefix), (query.prefix, name), key=lambda pair: len(pair[0]))
        if inner.startswith(outer) and (inner > after or after.startswith(inner)):
            yield query._replace(prefix=inner), True


async def _by_newest(engine: Engine, query: RoomsQuery, readable: Grants) -> tuple[list[Row], Row | None]:
    rows: list[Row] = []
    part = _narrowed(query, readable)
    for _ in range(_MAX_PAGES):
        page = [] if part is None else await _page(engine, part)
        rows += [row for row in page if row[0] in readable]
        if part is None or len(page) < query.limit:
            break
        if len(rows) >= query.limit:
            return rows[: query.limit], rows[query.limit - 1]
        part = part._replace(after=_after(engine, query, page[-1]))
    else:
        return rows, page[-1]
    return rows[: query.limit], rows[query.limit - 1] if len(rows) > query.limit else None


def _narrowed(query: RoomsQuery, readable: Grants) -> RoomsQuery | None:
    """The query, narrowed to the prefix of all readable rooms; None if none can be readable."""
    shared = readable.common_prefix()
    if query.prefix.startswith(shared):
        return query
    return query._replace(prefix=shared) if shared.startswith(query.prefix) else None


async def _page(engine: Engine, query: RoomsQuery) -> Sequence[Row]:
    after = query.after if query.sort == "name" else _seq(engine, query.after)
    held = await engine.log.rooms(query.prefix, query.sort, after, query.limit)
    return await _with_followed(engine, query, held) if query.sort == "name" else [(one.room, one) for one in held]


async def _with_followed(engine: Engine, query: RoomsQuery, held: Sequence[RoomStats]) -> list[Row]:
    """The rooms that hold messages, merged with followed rooms that hold none."""
    last = held[-1].room if len(held) == query.limit else None
    holding = {stats.room for stats in held}
    followed = await engine.followed.names(query.prefix, query.after, last, query.limit + len(held))
    empty: list[Row] = [(room, None) for room in followed if room not in holding]
    full: list[Row] = [(stats.room, stats) for stats in held]
    return list(islice(merge(full, empty, key=lambda row: row[0]), query.limit))


async def _pieces(
    engine: Engine, rows: Sequence[Row], followers: Mapping[str, int], reservation: Reservation
) -> Pieces:
    try:
        yield b'{"rooms":['
        for start in range(0, len(rows), _ROWS_A_TURN):
            part = [
                msgspec.json.encode(_row(engine, *row, followers[row[0]]))
                for row in rows[start : start + _ROWS_A_TURN]
            ]
            yield (b"," if start else b"") + b",".join(part)
            await asyncio.sleep(0)
        yield b"]}"
    finally:
        reservation.release()


def _row(engine: Engine, room: str, stats: RoomStats | None, followers: int) -> Room[str]:
    rule = _rule(engine, room, stats)
    if stats is None:
        return Room(room, 0, None, None, followers, **rule)
    newest = str(MessageId(engine.log.epoch, stats.newest))
    return Room(room, stats.messages, newest, rfc3339(stats.newest_at), followers, **rule)


def _rule(engine: Engine, room: str, stats: RoomStats | None) -> dict[str, Any]:
    """The caps of a room's rule and the time of its oldest message; empty without a rule."""
    rule = next((rule for rule in engine.log.retention.rooms if rule.matches(room)), None)
    if rule is None:
        return {}
    oldest_at = {"oldest_at": rfc3339(stats.oldest_at)} if stats else {}
    return {**oldest_at, **{name: cap for name, cap in rule._asdict().items() if name != "match"}}


def _next(engine: Engine, request: Request, query: RoomsQuery, last: Row) -> Field:
    fields = {
        "prefix": query.prefix,
        "sort": query.sort,
        "after": _after(engine, query, last),
        "limit": str(query.limit),
    }
    kept = urlencode({name: value for name, value in fields.items() if value})
    return b"link", f'<{quote(request.head.mount)}/rooms?{kept}>; rel="next"'.encode()


def _after(engine: Engine, query: RoomsQuery, last: Row) -> str:
    room, stats = last
    return room if query.sort == "name" or stats is None else str(MessageId(engine.log.epoch, stats.newest))


def _seq(engine: Engine, after: str | None) -> int | None:
    if after is None:
        return None
    id = MessageId.parse(after)
    # An id of another epoch says nothing about this order: begin with the newest.
    return id.seq if id and id.epoch == engine.log.epoch else None


def _name(value: str) -> str:
    """The beginning of a room's name. PostgreSQL stores no NUL and takes none in a query."""
    if fault := prefix_fault(value):
        raise ValueError(fault)
    return value


def _id(value: str) -> str:
    if value and MessageId.parse(value) is None:
        raise ValueError("must be the id of a message")
    return value


def _sort(value: str) -> RoomSort:
    if value == "newest":
        return "newest"
    if value != "name":
        raise ValueError("must be name or newest")
    return "name"
