"""`GET /messages`: a stream or a page of the requested rooms, and where it starts."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple

from roomcast.api import history
from roomcast.api.answer import Answer, HeaderFields, Outcome, Streaming
from roomcast.api.query import FORMATS, PAGE, STREAM, After, Query, parse_query, preferred_format, refuse_lists
from roomcast.api.request import Head, Request
from roomcast.api.start import from_window, locate
from roomcast.auth.credentials import NOT_VALID
from roomcast.auth.grants import EVERYTHING
from roomcast.auth.guard import in_url
from roomcast.auth.permit import permit
from roomcast.auth.principal import Principal
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening
from roomcast.delivery.piece import PIECE_BYTES
from roomcast.delivery.replay import retry_delay_ms
from roomcast.delivery.wire import wire
from roomcast.model.errors import InvalidToken, LogUnavailable

_STREAM_FIELDS = {
    content_type: HeaderFields(
        # Without a charset, a browser that navigates here, and clients built on requests, would read Latin-1.
        (b"content-type", content_type.encode() + (b"; charset=utf-8" if content_type == STREAM else b"")),
        # Without no-transform, a compressing proxy (such as express' compression) holds a stream back for ever.
        (b"cache-control", b"no-store, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"vary", b"Accept"),
    )
    for content_type in FORMATS
}


class Following(NamedTuple):
    """The stream or page that a head asks for, without its `Last-Event-ID`."""

    content_type: str
    query: Query
    may_be_list: bool
    """Whether a room's name has a comma: the client may have meant several rooms."""


def following(head: Head) -> Following:
    """Reads the query and the `Accept` field of `head`. Raises `NotAcceptable` and `Invalid`."""
    found = parse_query(head.query)
    return Following(
        preferred_format(head.text(b"accept")), found, any("," in room for room in found.selection.rooms)
    )


def follow(engine: Engine, request: Request, parsed: Following) -> Outcome | Awaitable[Outcome]:
    """`GET /messages`: the stream or page that `request` asks for; `parsed` is from `following`. It begins in the
    window of `engine`, or in its log, which takes time. A client whose stream cannot be served now is told to
    retry, with status 200: an EventSource gives up for good on any other status. Raises `Forbidden`,
    `Unauthenticated`, `Invalid` and `InvalidToken`; for a page also `Overloaded` and `LogUnavailable`."""
    content_type, query = parsed.content_type, parsed.query
    # Some servers leave the white space around a value (RFC 9110, section 5.5): llhttp does at its end.
    if last_event_id := request.values.get(b"last-event-id", b"").strip(b" \t"):
        query = query._replace(origin=After(last_event_id.decode(errors="replace")))
    principal, selection = request.principal, query.selection
    if principal.read is not EVERYTHING:
        permit(principal, "read", sorted(selection.rooms), prefixes=selection.prefixes)
        if request.is_by_ticket:
            _check_ticket(engine, principal, content_type)
    if parsed.may_be_list:
        # Only for readable rooms: the refusal must not reveal that other rooms exist.
        refuse_lists(selection.rooms, lambda room: room in principal.read and engine.hub.has_messages_of(room))
    if content_type == PAGE:
        return history.page(engine, request, query)
    if request.head.method == "HEAD":
        return _headers_of_a_stream(content_type)
    if engine.streams.draining:
        return _retry_later(engine, content_type, "drain")
    opening = from_window(engine, query.selection, query.origin) if engine.hub.epoch else None
    if opening is None:
        return _from_log(engine, request, query, content_type)
    return _begin(engine, request, query, content_type, opening)


def _check_ticket(engine: Engine, principal: Principal, content_type: str) -> None:
    """A ticket in a URL opens only streams, and only for one client. Raises `Invalid` and `InvalidToken`."""
    if content_type == PAGE:
        raise in_url(["ticket"])
    if engine.streams.tenures.refuses(principal.ticket_nonce):
        raise InvalidToken(NOT_VALID, reason="the ticket's stream was replaced too often")


async def _from_log(engine: Engine, request: Request, query: Query, content_type: str) -> Outcome:
    try:
        opening = await locate(engine, query.selection, query.origin)
    except LogUnavailable:
        return _retry_later(engine, content_type, "error")
    return _begin(engine, request, query, content_type, opening)


def _begin(engine: Engine, request: Request, query: Query, content_type: str, opening: Opening) -> Outcome:
    if engine.full or not engine.answers.allows(PIECE_BYTES):
        return _retry_later(engine, content_type, "overload")
    principal = request.principal
    most, limit = principal.quota.streams, None
    if most:
        limit = engine.streams.limits.of(request.counted_as, most, principal.kind)
    return Streaming(
        *(engine, query.selection, opening, content_type, _STREAM_FIELDS[content_type], principal, limit),
        replaces=request.is_by_ticket,
    )


def _headers_of_a_stream(content_type: str) -> Answer:
    answer = Answer(200, _STREAM_FIELDS[content_type])
    answer.length = None
    return answer.last()


def retry_later(engine: Engine, request: Request, parsed: Following) -> Answer | None:
    """The answer that tells the client of `request` to retry when its credential cannot be judged now; None if
    `parsed` is not for a stream, or only for its headers. Counts an ending in `engine`."""
    if parsed.content_type == PAGE or request.head.method == "HEAD":
        return None
    return _retry_later(engine, parsed.content_type, "error")


def _retry_later(engine: Engine, content_type: str, reason: str) -> Answer:
    endings = engine.streams.endings
    endings[reason] = endings.get(reason, 0) + 1
    body = wire(content_type, chunked=False).retry(retry_delay_ms())
    return Answer(200, _STREAM_FIELDS[content_type], body).last()
