"""`/healthz`, `/readyz`: whether the process answers, and whether it serves what it promises."""

from __future__ import annotations

import msgspec

from roomcast.api.request import JSON, Answer, Request
from roomcast.delivery.engine import Engine
from roomcast.version import __version__


def healthz(engine: Engine, request: Request, asked: None) -> Answer:
    """The process answers."""
    return _json(200, status="ok", version=__version__)


async def readyz(engine: Engine, request: Request, asked: None) -> Answer:
    """The log answers and the tail is current; else 503 and why not. A log that cannot be written is no reason to
    send followers away, so that is only said: a full disk would be an outage for them, too."""
    why_not = await engine.ready()
    if why_not:
        return _json(503, status="unavailable", **({"detail": why_not} if request.principal.metrics else {}))
    unwritable = engine.log.unwritable
    position = f"{engine.log.epoch}-{engine.hub.position}"
    detail = {"detail": unwritable} if unwritable and request.principal.metrics else {}
    return _json(200, status="ok", position=position, writable=not unwritable, **detail)


def _json(code: int, /, **fields: object) -> Answer:
    return Answer(code, JSON, msgspec.json.encode(fields))
