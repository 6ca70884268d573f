"""`GET /me`: the rights of the client."""

from __future__ import annotations

import math
import time

import msgspec

from roomcast.api.request import JSON, Answer, Request
from roomcast.delivery.engine import Engine


def me(engine: Engine, request: Request, parsed: None) -> Answer:
    """The rights of the request's principal, as JSON."""
    principal = request.principal
    told = {
        "kind": principal.kind,
        "name": principal.name,
        "user": principal.user,
        "read": principal.read.texts(),
        "publish": principal.publish.texts(),
        "metrics": principal.metrics,
        "admin": principal.admin,
        "expires_in": None if principal.until is None else max(0, math.floor(principal.until - time.time())),
    }
    return Answer(200, JSON, msgspec.json.encode(told))
