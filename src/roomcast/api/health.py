"""`/healthz`: whether the process answers. `/readyz`: whether it can serve."""

from __future__ import annotations

import time

import msgspec
from msgspec import UNSET

from roomcast.api.request import JSON, Answer, Request
from roomcast.delivery.engine import Engine
from roomcast.model.message import rfc3339
from roomcast.model.shapes import Health, NotReady, Ready
from roomcast.version import __version__


def healthz(engine: Engine, request: Request, asked: None) -> Answer:
    """200 with version and time: the process answers."""
    return _json(200, Health("ok", __version__, rfc3339(time.time_ns() // 1_000_000)))


async def readyz(engine: Engine, request: Request, asked: None) -> Answer:
    """200 if the log answers and the tail is current, else 503 with the reason. A log that cannot be written is
    only reported: a 503 would turn a full disk into an outage for followers, too."""
    why_not = await engine.ready()
    if why_not:
        return _json(503, NotReady("unavailable", why_not if request.principal.metrics else UNSET))
    unwritable = engine.log.unwritable
    position = f"{engine.log.epoch}-{engine.hub.position}"
    detail = unwritable if unwritable and request.principal.metrics else UNSET
    return _json(200, Ready("ok", position, not unwritable, detail))


def _json(code: int, said: Health | Ready | NotReady) -> Answer:
    return Answer(code, JSON, msgspec.json.encode(said))
