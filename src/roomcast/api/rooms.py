"""`GET /rooms`: the rooms that hold messages or are followed, in pages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from roomcast.api.parameters import Given, parameters, whole_number
from roomcast.api.request import JSON, Answer, Field, Head, Pieces, Request
from roomcast.delivery.engine import Engine
from roomcast.log.base import ROOMS_PAGE, RoomSort, RoomStats
from roomcast.model.message import MessageId, rfc3339

PARAMETERS = ("prefix", "sort", "after", "limit")
_ROWS_A_TURN = 100
"""Rows of a page that are written before others have the loop: all of them take some 3 ms."""


class Listing(NamedTuple):
    """What a head asks for."""

    prefix: str
    sort: RoomSort
    after: str | None
    """A name; with `sort=newest`, an id."""
    limit: int


def listing(head: Head) -> Listing:
    """Raises `Invalid`, naming each parameter."""
    given = Given(parameters(head.query), PARAMETERS)
    sort = given.once("sort", _sort) or "name"
    asked = Listing(
        given.once("prefix", str) or "",
        sort,
        given.once("after", str if sort == "name" else _is_id) or None,
        given.once("limit", whole_number(ROOMS_PAGE)) or ROOMS_PAGE,
    )
    given.check()
    return asked


async def rooms(engine: Engine, request: Request, asked: Listing) -> Answer:
    """A page of the rooms, with the way to the next where there may be one."""
    after = asked.after if asked.sort == "name" else _seq(engine, asked.after)
    held = await engine.log.rooms(asked.prefix, asked.sort, after, asked.limit)
    rows = _with_followed(engine, asked, held) if asked.sort == "name" else [(one.room, one) for one in held]
    own = [_next(engine, request, asked, rows[-1])] if len(rows) == asked.limit else []
    return Answer.of_pieces(200, JSON, _pieces(engine, rows), own)


Row = tuple[str, RoomStats | None]
"""A room, and what it holds, if anything."""


def _with_followed(engine: Engine, asked: Listing, held: Sequence[RoomStats]) -> list[Row]:
    """Rooms that are followed and hold nothing, between those that do."""
    last = held[-1].room if len(held) == asked.limit else None
    holding = {stats.room for stats in held}
    followed = engine.streams.followed.names(asked.prefix, asked.after, last)
    empty: list[Row] = [(room, None) for room in islice(followed, asked.limit + len(held)) if room not in holding]
    full: list[Row] = [(stats.room, stats) for stats in held]
    return list(islice(merge(full, empty, key=lambda row: row[0]), asked.limit))


async def _pieces(engine: Engine, rows: Sequence[Row]) -> Pieces:
    yield b'{"rooms":['
    for start in range(0, len(rows), _ROWS_A_TURN):
        part = [msgspec.json.encode(_row(engine, *row)) for row in rows[start : start + _ROWS_A_TURN]]
        yield (b"," if start else b"") + b",".join(part)
        await asyncio.sleep(0)
    yield b"]}"


def _row(engine: Engine, room: str, stats: RoomStats | None) -> Mapping[str, object]:
    newest = newest_at = None
    if stats is not None:
        newest, newest_at = f"{engine.log.epoch}-{stats.newest}", rfc3339(stats.newest_at)
    return {
        "room": room,
        "messages": stats.messages if stats else 0,
        "newest": newest,
        "newest_at": newest_at,
        "followers": engine.streams.followed.count(room),
        **_rule(engine, room, stats),
    }


def _rule(engine: Engine, room: str, stats: RoomStats | None) -> Mapping[str, object]:
    """What holds for a room with a rule, and how old its oldest is."""
    rule = next((rule for rule in engine.log.retention.rooms if rule.matches(room)), None)
    if rule is None:
        return {}
    oldest_at = {"oldest_at": rfc3339(stats.oldest_at)} if stats else {}
    return {**oldest_at, **{name: cap for name, cap in rule._asdict().items() if name != "match"}}


def _next(engine: Engine, request: Request, asked: Listing, last: Row) -> Field:
    room, stats = last
    after = room if asked.sort == "name" or stats is None else str(MessageId(engine.log.epoch, stats.newest))
    fields = {"prefix": asked.prefix, "sort": asked.sort, "after": after, "limit": str(asked.limit)}
    query = urlencode({name: value for name, value in fields.items() if value})
    return b"link", f'<{quote(request.head.mount)}/rooms?{query}>; rel="next"'.encode()


def _seq(engine: Engine, after: str | None) -> int | None:
    if after is None:
        return None
    id = MessageId.parse(after)
    # Of another epoch, it says nothing of this one's order: from the newest.
    return id.seq if id and id.epoch == engine.log.epoch else None


def _is_id(value: str) -> str:
    if value and MessageId.parse(value) is None:
        raise ValueError("must be the id of a message")
    return value


def _sort(value: str) -> RoomSort:
    if value == "newest":
        return "newest"
    if value != "name":
        raise ValueError("must be name or newest")
    return "name"
