"""`GET /me`: the rights of the client."""

from __future__ import annotations

import math
import time

import msgspec

from roomcast.api.answer import JSON, Answer
from roomcast.api.request import Request
from roomcast.delivery.engine import Engine


def me(engine: Engine, request: Request, parsed: None) -> Answer:
    """`GET /me`: the rights of the principal of `request`, and the seconds until they expire. `engine` and
    `parsed` are not used."""
    principal = request.principal
    rights = {
        "kind": principal.kind,
        "name": principal.name,
        "user": principal.user,
        "read": principal.read.texts(),
        "publish": principal.publish.texts(),
        "metrics": principal.metrics,
        "admin": principal.admin,
        "expires_in": None if principal.until is None else max(0, math.floor(principal.until - time.time())),
    }
    return Answer(200, JSON, msgspec.json.encode(rights))
