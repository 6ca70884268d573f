"""What is retained, as JSON: pages and single messages."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from roomcast.api.query import Everything, Query
from roomcast.api.request import JSON, Answer, Field, Fields, Request
from roomcast.api.start import locate
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Gap, Opening, widened
from roomcast.log.base import Page
from roomcast.model.errors import Fault, Gone, Invalid, LogUnavailable, NotFound
from roomcast.model.message import MessageId, as_json

_PAGE = Fields(*JSON.pairs, (b"vary", b"Accept"))


async def page(engine: Engine, request: Request, query: Query) -> Answer:
    """The first `limit` messages of what the stream would give; with `before` and no start, the last ones
    before it."""
    before = _before(engine, query)
    opening = await _opening(engine, query, before)
    found = await engine.log.read(query.rooms, opening.position, query.limit, before)
    found = await _filled(engine, query, found, before)
    if opening.epoch not in (None, engine.log.epoch):
        raise LogUnavailable("The log began anew meanwhile: ask again.")
    gap = opening.gap
    if opening.exact:
        gap = widened(gap, str(MessageId(engine.log.epoch, opening.position)), found.losses)
    return _answer(engine, request, query, found, gap)


async def message(engine: Engine, request: Request, text: str) -> Answer:
    """One message by its id."""
    id = MessageId.parse(text)
    bounds = await engine.log.bounds()
    if id is None or id.epoch != engine.log.epoch or not 0 < id.seq <= bounds.newest:
        raise NotFound(f"this log has no message {text[:100]!r}, and under its present epoch never had")
    found = await engine.log.get(id.seq)
    if found is None:
        raise Gone(f"message {id} was stored, and is no longer retained")
    return Answer(200, JSON, as_json(engine.log.epoch, found))


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
        return await locate(engine, query.rooms, query.origin)
    return Opening(await engine.log.seek_newest(query.rooms, query.limit, before), exact=False)


async def _filled(engine: Engine, query: Query, found: Page, before: int | None) -> Page:
    """One read brings no more than should be in memory at once; a page is what was asked for."""
    while len(found.messages) < query.limit:
        more = await engine.log.read(query.rooms, found.position, query.limit - len(found.messages), before)
        if not more.messages:
            return found._replace(position=more.position)
        found = Page([*found.messages, *more.messages], more.position, found.losses)
    return found


def _answer(engine: Engine, request: Request, query: Query, found: Page, gap: Gap | None) -> Answer:
    epoch = engine.log.epoch
    first = MessageId(epoch, found.messages[0].seq) if found.messages else None
    body = b'{"messages":[%b],"position":"%b","gap":%b}' % (
        b",".join([as_json(epoch, m) for m in found.messages]),
        str(MessageId(epoch, found.position)).encode(),
        b"null" if gap is None else gap.data(first),
    )
    links = _links(engine, request, query, found)
    own: list[Field] = [(b"link", ", ".join(links).encode())] if links else []
    return Answer(200, _PAGE, body, own)


def _links(engine: Engine, request: Request, query: Query, found: Page) -> list[str]:
    """RFC 8288: the pages on either side, where there may be any."""
    targets: dict[str, tuple[str, int]] = {}
    if found.messages and found.messages[0].seq > engine.hub.trimmed + 1:
        targets["prev"] = ("before", found.messages[0].seq)
    if len(found.messages) == query.limit:
        targets["next"] = ("after", found.position)
    path = f"{quote(request.head.mount)}/messages"
    kept = [("room", room) for room in sorted(query.rooms)]
    links = []
    for relation, (name, seq) in targets.items():
        where = [(name, str(MessageId(engine.log.epoch, seq))), ("limit", str(query.limit))]
        if relation == "next" and query.before and query.origin != Everything():
            where.append(("before", query.before))
        links.append(f'<{path}?{urlencode([*kept, *where])}>; rel="{relation}"')
    return links
