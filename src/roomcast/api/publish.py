"""`POST /messages`: validates, appends, and answers when the messages are durable. Does not deliver them."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from asyncio import Future
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

from roomcast.api.answer import Answer, HeaderFields, PendingAnswer
from roomcast.api.request import Head, Request
from roomcast.auth.grants import EVERYTHING
from roomcast.auth.permit import permit
from roomcast.auth.principal import Principal
from roomcast.delivery.budget import SMALL_BYTES, Reservation
from roomcast.delivery.engine import Engine
from roomcast.log.base import Appended, Idempotency
from roomcast.model import draft
from roomcast.model.errors import Fault, Invalid, UnsupportedMediaType
from roomcast.model.fields import ANONYMOUS
from roomcast.model.message import as_json

_PARSERS = {
    "application/json": (draft.parse_json, draft.json_steps),
    "application/x-ndjson": (draft.parse_lines, draft.line_steps),
}
_BYTES_A_TURN = 8 * 1024
"""A larger body is parsed in steps, and other tasks run between them: 26 KB may hold 1,000 messages."""
_STAMP_BYTES = 80
"""Bytes that a stored message takes in an answer in addition to its body: id and timestamp."""
_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_FIELDS = HeaderFields((b"content-type", b"application/json"))


class Envelope(NamedTuple):
    """How to parse a publish's body, by its head."""

    parse: draft.Parser
    steps: Callable[[bytes, int, str | None], draft.Steps]
    """The same in steps, for a large body."""
    fingerprint: bytes
    """The part of the head that decides what is stored, such as the media type. A repeated request must have the
    same one, and the same body."""


Stored = tuple[int, bytes, bytes]
"""201, or 200 if the idempotency key was known; the first message's id; the stored messages as JSON."""


def envelope(head: Head) -> Envelope:
    """How to parse the body, by the media type in `head`. Raises `UnsupportedMediaType`."""
    media_type = media_type_of(head)
    parsers = _PARSERS.get(media_type)
    if parsers is None:
        raise UnsupportedMediaType(
            f"send the header Content-Type: {' or '.join(_PARSERS)}; it was {media_type[:100] or 'missing'}"
        )
    checked_encoding(head)
    return Envelope(*parsers, media_type.encode("latin-1"))


def media_type_of(head: Head) -> str:
    """The media type of the body, as `head` declares it, in lower case; empty if it declares none."""
    return head.text(b"content-type").partition(";")[0].strip().lower()


def checked_encoding(head: Head) -> None:
    """Raises `UnsupportedMediaType` if `head` declares a content encoding of the body."""
    if head.text(b"content-encoding").lower() not in ("", "identity"):
        raise UnsupportedMediaType("send the body without a Content-Encoding")


def publish(engine: Engine, request: Request, envelope: Envelope) -> Answer | PendingAnswer | Awaitable[Answer]:
    """`POST /messages` and `POST /rooms/{room}`: gives the messages in the body of `request`, which `envelope`
    parses, to the log of `engine`. Raises the errors of the body and of the idempotency key, `Forbidden`,
    `Unauthenticated`, `TooMany` and `Overloaded`; the answer may raise the errors of `stored`."""
    if len(request.body) > _BYTES_A_TURN:
        return _publish_in_steps(engine, request, envelope)
    began = time.perf_counter()
    key = idempotency_key(request) if b"idempotency-key" in request.values else None
    parsed = envelope.parse(request.body, engine.settings.max_message, request.principal.user)
    reservation = _admit(engine, request, parsed)
    drafts, batch = parsed
    appending = engine.log.append(drafts, _idempotency(envelope, request.principal, request.body, key))
    if appending.done():
        return _answer(engine, request.head.mount, batch, began, reservation, appending)
    return PendingAnswer(appending, partial(_answer, engine, request.head.mount, batch, began, reservation))


async def _publish_in_steps(engine: Engine, request: Request, envelope: Envelope) -> Answer:
    began, principal = time.perf_counter(), request.principal
    parsed = await _in_turns(envelope.steps(request.body, engine.settings.max_message, principal.user))
    reservation = _admit(engine, request, parsed)
    idempotency = _idempotency(envelope, principal, request.body, idempotency_key(request))
    appending = engine.log.append(parsed.drafts, idempotency)
    # Not cancelled when the client leaves: the log stores what it was given.
    await asyncio.wait([appending])
    return _answer(engine, request.head.mount, parsed.batch, began, reservation, appending)


async def _in_turns(steps: draft.Steps) -> draft.PublishRequest:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            parsed: draft.PublishRequest = done.value
            break
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # a batch is given to the log in a turn of its own
    return parsed


def submit(
    engine: Engine, envelope: Envelope, principal: Principal, body: bytes, key: str | None
) -> tuple[Future[Appended], bool]:
    """Appends the messages in `body`, which `envelope` parses, to the log of `engine`, with the rights of
    `principal`. `key` is the idempotency key, if there is one. Returns the pending append, and whether the body is
    a batch. Raises the errors of the body, `Forbidden` and `Unauthenticated`."""
    parsed = envelope.parse(body, engine.settings.max_message, principal.user)
    _permit(principal, parsed)
    return engine.log.append(parsed.drafts, _idempotency(envelope, principal, body, key)), parsed.batch


def _admit(engine: Engine, request: Request, parsed: draft.PublishRequest) -> Reservation | None:
    """Checks what needs the body: the rooms, the client's rate (its first message is taken already), and the
    memory for the answer. All this comes before the append: a stored message cannot be refused any more. Raises
    `Forbidden`, `Unauthenticated`, `TooMany` and `Overloaded`."""
    _permit(request.principal, parsed)
    drafts = parsed.drafts
    if request.take_more and len(drafts) > 1:
        request.take_more(len(drafts) - 1)
    if len(drafts) == 1 and len(request.body) <= SMALL_BYTES:
        return None
    return engine.answers.reserve(sum([len(draft.body) + _STAMP_BYTES for draft in drafts]))


def _permit(principal: Principal, parsed: draft.PublishRequest) -> None:
    if principal.publish is not EVERYTHING:
        rooms = [one.room for one in parsed.drafts]
        permit(principal, "publish", rooms, "/{}/room" if parsed.batch else "/room")


def _idempotency(envelope: Envelope, principal: Principal, body: bytes, key: str | None) -> Idempotency | None:
    if key is None:
        return None
    # The user that the server fills in is part of what is stored; two tickets of one scope may differ in it.
    only = principal.user
    user = [] if only is None or only == ANONYMOUS else [only.encode()]
    digest = hashlib.sha256(b"\n".join([envelope.fingerprint, *user, body])).digest()
    return Idempotency(key, digest, principal.scope)


def stored(engine: Engine, batch: bool, began: float, appending: Future[Appended]) -> Stored:
    """The result of `appending`, an append that is done; `engine` counts it. `batch` says whether the request was
    a batch, and `began` is when it began, from `perf_counter`. Raises `KeyReused`, `TooLarge` and
    `LogUnavailable`."""
    messages, repeated = appending.result()
    engine.append_times.observe(time.perf_counter() - began)
    if not repeated:
        engine.published += len(messages)
    epoch = engine.log.epoch
    content = b",".join([as_json(epoch, message) for message in messages])
    id = b"%b-%d" % (epoch.encode(), messages[0].seq)
    return 200 if repeated else 201, id, b"[%b]" % content if batch else content


def idempotency_key(request: Request) -> str | None:
    """The idempotency key of `request`; None if it has none. Raises `Invalid`."""
    key = request.values.get(b"idempotency-key")
    return None if key is None else checked_key(key.decode("latin-1"))


def checked_key(key: str) -> str:
    """Returns `key` unchanged if it is valid. Raises `Invalid` otherwise. A repeated header arrives as one value
    with a space in it, and is refused, too."""
    if not _KEY.fullmatch(key):
        detail = "must be given once, as 1 to 128 visible ASCII characters"
        raise Invalid(f"Idempotency-Key {detail}", [Fault("/Idempotency-Key", detail)])
    return key


def _answer(
    engine: Engine,
    mount: str,
    batch: bool,
    began: float,
    reservation: Reservation | None,
    appending: Future[Appended],
) -> Answer:
    status, id, content = stored(engine, batch, began, appending)
    prefix = quote(mount).encode() if mount else b""
    answer = Answer(status, _FIELDS, content, ((b"location", b"%b/messages/%b" % (prefix, id)),))
    answer.reservation = reservation
    return answer
