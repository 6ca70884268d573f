"""`GET /me`: what whoever asks may do."""

from __future__ import annotations

import math
import time

import msgspec

from roomcast.api.request import JSON, Answer, Request
from roomcast.delivery.engine import Engine


def me(engine: Engine, request: Request, asked: None) -> Answer:
    """The principal of the request, as it may be told to them."""
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
