"""`POST /messages`: validated, appended, and answered when durable. Delivery is not done here."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from asyncio import Future
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from roomcast.delivery.engine import Engine
from roomcast.log.base import Appended, Idempotency
from roomcast.model import draft
from roomcast.model.errors import Fault, Invalid, RoomcastError, TooLarge, UnsupportedMediaType
from roomcast.model.message import as_json

BODY_SECONDS = 60.0
"""How long a body may take: a chunked one without end would hold its connection for ever."""

_PARSERS = {"application/json": draft.parse_json, "application/x-ndjson": draft.parse_lines}
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


class TimedOut(RoomcastError):
    """The request's body did not arrive in time."""

    status = 408
    kind = "timed-out"


class Envelope(NamedTuple):
    """What the headers of a publish request say of its body."""

    parse: draft.Parser
    media_type: bytes
    key: str | None


async def publish(engine: Engine, request: Request) -> Response:
    """One message or a batch."""
    headers = request.headers
    sealed = envelope(
        headers.get("content-type", ""), headers.get("content-encoding"), headers.getlist("idempotency-key")
    )
    body = await _body(request, engine.settings.max_body)
    began = time.perf_counter()
    appending, batch = submit(engine, sealed, body)
    await appending
    status, id, content = stored(engine, appending, batch, began)
    location = f"{quote(request.scope.get('root_path', ''))}/messages/{id.decode()}"
    return Response(content, status, {"location": location}, "application/json")


def envelope(content_type: str, content_encoding: str | None, keys: Sequence[str]) -> Envelope:
    """Raises `UnsupportedMediaType`, and `Invalid` for a bad idempotency key."""
    media_type = content_type.partition(";")[0].strip().lower()
    parse = _PARSERS.get(media_type)
    if parse is None:
        raise UnsupportedMediaType(
            f"send the header Content-Type: {' or '.join(_PARSERS)}; it was {media_type[:100] or 'missing'}"
        )
    if content_encoding and content_encoding.lower() != "identity":
        raise UnsupportedMediaType("send the body without a Content-Encoding")
    key = ", ".join(keys).strip(" \t")  # which llhttp leaves behind a value (RFC 9110, section 5.5)
    return Envelope(parse, media_type.encode("latin-1"), checked_key(key) if keys else None)


def submit(engine: Engine, sealed: Envelope, body: bytes) -> tuple[Future[Appended], bool]:
    """Gives what the body says to the log: what will come of it, and whether it is a batch. Raises what is wrong
    with the body."""
    drafts, batch = sealed.parse(body, engine.settings.max_message)
    idempotency = None
    if sealed.key is not None:
        idempotency = Idempotency(sealed.key, hashlib.sha256(sealed.media_type + b"\n" + body).digest())
    return engine.log.append(drafts, idempotency), batch


def stored(engine: Engine, appending: Future[Appended], batch: bool, began: float) -> tuple[int, bytes, bytes]:
    """The answer once it is done: its status, the id of the first message, its content. Raises `KeyReused`,
    `TooLarge` and `LogUnavailable`."""
    messages, repeated = appending.result()
    engine.publish_seconds += time.perf_counter() - began
    engine.appends += 1
    if not repeated:
        engine.published += len(messages)
    epoch = engine.log.epoch
    content = b",".join([as_json(epoch, message) for message in messages])
    id = b"%b-%d" % (epoch.encode(), messages[0].seq)
    return 200 if repeated else 201, id, b"[%b]" % content if batch else content


def checked_key(key: str) -> str:
    """The key as it is. Raises `Invalid`; two headers are one with a space in it, and so are refused."""
    if not _KEY.fullmatch(key):
        detail = "must be given once, as 1 to 128 visible ASCII characters"
        raise Invalid(f"Idempotency-Key {detail}", [Fault("/Idempotency-Key", detail)])
    return key


async def _body(request: Request, limit: int) -> bytes:
    """The body, refused as soon as it is known to be too large: before `receive`, where a client that sent
    `Expect: 100-continue` has not sent it yet, or while it arrives."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise TimedOut(f"the body took longer than {BODY_SECONDS:.0f} s") from None
    return bytes(body)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes; send several requests")
