"""Retained messages as JSON: pages and single messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode

from roomcast.api.answer import JSON, Answer, Field, HeaderFields, Pieces
from roomcast.api.query import Everything, Query
from roomcast.api.request import Request
from roomcast.api.start import locate
from roomcast.auth.principal import Principal
from roomcast.delivery.budget import READERS_SHARE, Reservation
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Missing, Opening, PendingGap, PendingLosses, widened
from roomcast.delivery.piece import PIECE_BYTES
from roomcast.log.base import Page
from roomcast.model.errors import Fault, Gone, Invalid, LogUnavailable, NotFound
from roomcast.model.message import Message, MessageId, as_json

_MESSAGE_BYTES = 300
"""Bytes that a message takes in addition to its body, as measured."""
_PAGE = HeaderFields(*JSON.pairs, (b"vary", b"Accept"))


async def page(engine: Engine, request: Request, query: Query) -> Answer:
    """Answers `request` with the first `limit` messages of the stream that `query` describes. If `query` has a
    `before` and no start, they are the last messages before that id. Reads the log of `engine`. Raises `Invalid`,
    `Overloaded` and `LogUnavailable`."""
    reservation = engine.answers.reserve(PIECE_BYTES, READERS_SHARE)
    try:
        return await _page(engine, request, query, reservation)
    except BaseException:  # also if the client disconnected
        reservation.release()
        raise


async def _page(engine: Engine, request: Request, query: Query, reservation: Reservation) -> Answer:
    before = _before(engine, query)
    opening = await _opening(engine, query, before)
    pending = PendingLosses(opening)
    found = await _read(engine, query, opening.position, before, pending, reservation)
    if opening.epoch not in (None, engine.log.epoch):
        raise LogUnavailable("The log began a new epoch meanwhile: ask again.")
    page = _with_gap(engine.log.epoch, opening.gap, found, query.selection.prefixes)
    return _answer(engine, request, query, page, reservation)


async def message(engine: Engine, request: Request, text: str) -> Answer:
    """`GET /messages/{id}`: the message with the id `text`, from the log of `engine`. Raises `NotFound` for an id
    that no message ever had, and for a message that the principal of `request` may not read. Raises `Gone` if the
    message is no longer retained, and `LogUnavailable`."""
    id = await known_id(engine, text)
    found = await engine.log.get(id.seq)
    # The answer must not reveal that a room exists which the client may not read.
    if not _readable(request.principal, found):
        raise NotFound(_unknown_id(text))
    if found is None:
        raise Gone(f"message {id} is no longer retained")
    return Answer(200, JSON, as_json(engine.log.epoch, found))


async def known_id(engine: Engine, text: str) -> MessageId:
    """Parses `text`, the id of a message that is in the log of `engine`, or once was. Raises `NotFound` for any
    other text, and `LogUnavailable`."""
    id = MessageId.parse(text)
    bounds = await engine.log.bounds()
    if id is None or id.epoch != engine.log.epoch or not 0 < id.seq <= bounds.newest:
        raise NotFound(_unknown_id(text))
    return id


def _unknown_id(text: str) -> str:
    return f"this log never had a message {text[:100]!r} in its present epoch"


def _readable(principal: Principal, message: Message | None) -> bool:
    """Whether the principal may read a message. A message that is gone (None) may have been in any room."""
    return principal.read.covers_prefix("") if message is None else message.room in principal.read


def _before(engine: Engine, query: Query) -> int | None:
    if query.before is None:
        return None
    id = MessageId.parse(query.before)
    if id is None or id.epoch != engine.log.epoch:
        detail = f"is not an id of this log; they look like {MessageId(engine.log.epoch, 42)}"
        raise Invalid(f"before {detail}", [Fault("/before", detail)])
    return id.seq


async def _opening(engine: Engine, query: Query, before: int | None) -> Opening:
    if before is None or query.origin != Everything():
        return await locate(engine, query.selection, query.origin)
    return Opening(await engine.log.seek_newest(query.selection, query.limit, before), exact=False)


class _Found(NamedTuple):
    """The messages of a page, and the messages missing between them."""

    messages: Sequence[Message]
    position: int
    missing: Sequence[Missing]


class _PageWithGap(NamedTuple):
    """A page with its gap."""

    messages: Sequence[Message]
    position: int
    gap: PendingGap | None
    resumes_at: MessageId | None
    cut: bool
    """Whether it ends before a second gap."""


async def _read(
    engine: Engine,
    query: Query,
    position: int,
    before: int | None,
    pending: PendingLosses,
    reservation: Reservation,
) -> _Found:
    """Reads a page's messages, in several reads if one would bring too much into memory."""
    messages: list[Message] = []
    missing: list[Missing] = []
    while True:
        page = await _read_once(engine, query, position, query.limit - len(messages), before, reservation)
        missing += pending.missing(page)
        messages += page.messages
        position = page.position
        if not page.messages or len(messages) >= query.limit:
            return _Found(messages, position, missing)


def _with_gap(epoch: str, gap: PendingGap | None, found: _Found, prefixes: Sequence[str]) -> _PageWithGap:
    """The page, cut before a second gap: a page can report only one."""
    missing, resumes_at, pending = list(found.missing), None, gap is not None
    for number, message in enumerate(found.messages):
        lost = [one for one in missing if one.last < message.seq]
        if not lost and not pending:
            continue
        if resumes_at:
            return _PageWithGap(found.messages[:number], found.messages[number - 1].seq, gap, resumes_at, cut=True)
        gap, pending, resumes_at = widened(gap, epoch, lost, prefixes), False, MessageId(epoch, message.seq)
        missing = missing[len(lost) :]
    if missing and resumes_at:  # the second gap comes after the last message
        return _PageWithGap(found.messages, found.messages[-1].seq, gap, resumes_at, cut=True)
    return _PageWithGap(
        found.messages, found.position, widened(gap, epoch, missing, prefixes), resumes_at, cut=False
    )


async def _read_once(
    engine: Engine, query: Query, position: int, limit: int, before: int | None, reservation: Reservation
) -> Page:
    async with engine.pages:
        page = await engine.log.read(query.selection, position, limit, before)
    reservation.add(sum([len(message.body) + _MESSAGE_BYTES for message in page.messages]))
    return page


def _answer(
    engine: Engine, request: Request, query: Query, found: _PageWithGap, reservation: Reservation
) -> Answer:
    epoch = engine.log.epoch
    position = str(MessageId(epoch, found.position)).encode()
    gap = b"null" if found.gap is None else found.gap.data(found.resumes_at)
    end = b'],"position":"%b","gap":%b}' % (position, gap)
    links = _links(engine, request, query, found)
    own: list[Field] = [(b"link", ", ".join(links).encode())] if links else []
    if reservation.size <= 2 * PIECE_BYTES:  # PIECE_BYTES of it are for the encoded answer
        body = b'{"messages":[%b%b' % (b",".join([as_json(epoch, message) for message in found.messages]), end)
        answer = Answer(200, _PAGE, body, own)
        answer.reservation = reservation
        return answer
    return Answer.of_pieces(200, _PAGE, _pieces(epoch, found.messages, end, reservation), own)


async def _pieces(epoch: str, messages: Sequence[Message], end: bytes, reservation: Reservation) -> Pieces:
    """The page's body, as fast as its client reads it."""
    piece, size = [b'{"messages":['], 0
    try:
        for number, message in enumerate(messages):
            piece.append((b"," if number else b"") + as_json(epoch, message))
            size += len(piece[-1])
            if size >= PIECE_BYTES:
                yield b"".join(piece)
                piece, size = [], 0
                await asyncio.sleep(0)
        yield b"".join([*piece, end])
    finally:
        reservation.release()


def _links(engine: Engine, request: Request, query: Query, found: _PageWithGap) -> list[str]:
    """Links to the pages before and after (RFC 8288), if there may be any."""
    targets: dict[str, tuple[str, int]] = {}
    if found.messages and found.messages[0].seq > engine.hub.trimmed + 1:
        targets["prev"] = ("before", found.messages[0].seq)
    if found.cut or len(found.messages) == query.limit:
        targets["next"] = ("after", found.position)
    path = f"{quote(request.head.mount)}/messages"
    kept = [("room", room) for room in sorted(query.selection.rooms)]
    kept += [("prefix", prefix) for prefix in query.selection.prefixes]
    links = []
    for relation, (name, seq) in targets.items():
        where = [(name, str(MessageId(engine.log.epoch, seq))), ("limit", str(query.limit))]
        if relation == "next" and query.before and query.origin != Everything():
            where.append(("before", query.before))
        links.append(f'<{path}?{urlencode([*kept, *where])}>; rel="{relation}"')
    return links
