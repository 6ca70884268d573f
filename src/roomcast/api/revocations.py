"""`POST /revocations`: ends a person's tokens and tickets."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from roomcast.api import json_object
from roomcast.api.answer import NO_FIELDS, Answer
from roomcast.api.request import Head, Request
from roomcast.auth.leeway import LEEWAY_SECONDS
from roomcast.delivery.engine import Engine
from roomcast.model.errors import Fault, Invalid, NotOffered
from roomcast.model.message import rfc3339
from roomcast.model.refusal import invalid
from roomcast.model.revocation import Revocation, check_iss, check_sub
from roomcast.model.times import parse_time

_EXAMPLE = '{"sub": "42"}'

logger = logging.getLogger("roomcast.audit")


def check_head(head: Head) -> None:
    """Raises `UnsupportedMediaType` unless `head` declares the body as JSON."""
    json_object.check_type(head, _EXAMPLE)


def check_mode(request: Request) -> None:
    """Raises `NotOffered` if the server of `request` checks no credentials: there is nothing to revoke."""
    if not request.guard.checks_credentials:
        raise NotOffered("no credentials are checked here: configure first who may read and publish")


async def revoke(engine: Engine, request: Request, parsed: None) -> Answer:
    """`POST /revocations`: stores the revocation in the body of `request` in the log of `engine`. Answers 204 when
    it is durable, and in force in this process; the other workers of the server follow within about a second.
    Raises `Malformed`, `Invalid`, `TooManyRevocations` and `LogUnavailable`. `parsed` is not used."""
    revocation = _revocation(request.body, time.time())
    await engine.log.revoke(revocation)
    assert engine.enforcement, "a server that checks credentials enforces revocations"
    await engine.enforcement.look()
    _log_revocation(request, revocation)
    return Answer(204, NO_FIELDS)


def _revocation(body: bytes, now: float) -> Revocation:
    """Raises `Malformed` and `Invalid`."""
    given = json_object.read(body, {"sub": _sub, "iss": _iss, "before": _before}, _EXAMPLE)
    if "sub" not in given:
        raise invalid([Fault("/sub", f"is missing: name whose tokens and tickets end, as in {_EXAMPLE}")])
    before: int | None = given.get("before")
    if before is None:
        before = math.ceil(now * 1000)
    if before > (now + LEEWAY_SECONDS) * 1000:
        detail = "must not be in the future: credentials issued from now on stay valid"
        raise Invalid(f"before {detail}", [Fault("/before", detail)])
    return Revocation(given["sub"], given.get("iss"), before)


def _log_revocation(request: Request, revocation: Revocation) -> None:
    sub, iss, before = revocation
    fields: dict[str, Any] = {"by": request.principal.name, "sub": sub, "iss": iss, "before": rfc3339(before)}
    issuer = "" if iss is None else f" of {iss}"
    by = fields["by"] or "everybody"
    text = f"revoked: all credentials of {sub}{issuer} issued before {fields['before']}, by {by}"
    logger.info("%s", text, extra={"fields": fields})


def _sub(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string, as tokens and tickets have it")
    return check_sub(value)


def _iss(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be a string, as tokens have it")
    return None if value is None else check_iss(value)


def _before(value: object) -> int | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be an RFC 3339 time such as 2026-11-22T06:27:00Z")
    return None if value is None else parse_time(value)
