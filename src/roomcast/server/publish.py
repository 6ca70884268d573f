"""`POST /messages`: validated, appended, and answered when durable. Delivery is not done here."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from roomcast import draft
from roomcast.errors import Fault, Invalid, RoomcastError, TooLarge, UnsupportedMediaType
from roomcast.log.base import Appended, Idempotency
from roomcast.message import Draft, Message, as_json
from roomcast.server.lifecycle import Service

BODY_SECONDS = 60.0
"""How long a body may take: a chunked one without end would hold its connection for ever."""

_PARSERS = {"application/json": draft.parse_json, "application/x-ndjson": draft.parse_lines}
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


class TimedOut(RoomcastError):
    """The request's body did not arrive in time."""

    status = 408
    kind = "timed-out"


async def publish(service: Service, request: Request) -> Response:
    """One message or a batch."""
    parse, media_type = _parser(request)
    key = _idempotency_key(request)
    body = await _body(request, service.settings.max_body)
    asked = parse(body, service.settings.max_message)
    idempotency = key and Idempotency(key, hashlib.sha256(media_type.encode() + b"\n" + body).digest())
    appended = await append(service, asked.drafts, idempotency or None)
    stored = [as_json(service.log.epoch, message) for message in appended.messages]
    return Response(
        b"[" + b",".join(stored) + b"]" if asked.batch else stored[0],
        status_code=200 if appended.repeated else 201,
        headers={"location": _location(service, request, appended.messages)},
        media_type="application/json",
    )


async def append(service: Service, drafts: Sequence[Draft], idempotency: Idempotency | None) -> Appended:
    """Stores the drafts and counts them."""
    began = time.perf_counter()
    appended = await service.log.append(drafts, idempotency)
    service.publish_seconds += time.perf_counter() - began
    service.appends += 1
    if not appended.repeated:
        service.published += len(drafts)
    return appended


def _location(service: Service, request: Request, messages: Sequence[Message]) -> str:
    """Where the message is; of a batch, its first."""
    path = f"{quote(request.scope.get('root_path', ''))}/messages/"
    return f"{path}{service.log.epoch}-{messages[0].seq}"


def _parser(request: Request) -> tuple[draft.Parser, str]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    parser = _PARSERS.get(media_type)
    if parser is None:
        raise UnsupportedMediaType(
            f"send the header Content-Type: {' or '.join(_PARSERS)}; it was {media_type[:100] or 'missing'}"
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("send the body without a Content-Encoding")
    return parser, media_type


def _idempotency_key(request: Request) -> str | None:
    keys = request.headers.getlist("idempotency-key")
    return checked_key(", ".join(keys)) if keys else None


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
