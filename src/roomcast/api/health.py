"""`/healthz`: whether the process answers. `/readyz`: whether it can serve."""

from __future__ import annotations

import time

import msgspec
from msgspec import UNSET

from roomcast.api.answer import JSON, Answer
from roomcast.api.request import Request
from roomcast.delivery.engine import Engine
from roomcast.model.message import rfc3339
from roomcast.model.shapes import Health, NotReady, Ready
from roomcast.version import __version__


def healthz(engine: Engine, request: Request, parsed: None) -> Answer:
    """`GET /healthz`: 200 with the version and the time, as long as the process answers. `engine`, `request` and
    `parsed` are not used."""
    return _json(200, Health("ok", __version__, rfc3339(time.time_ns() // 1_000_000)))


async def readyz(engine: Engine, request: Request, parsed: None) -> Answer:
    """`GET /readyz`: 200 if the log of `engine` answers and its tail is current; else 503. The details are only
    for a `request` with the right to metrics; `parsed` is not used.

    A server of several workers is ready while one of them is, and `missing` names the others. If a load balancer
    took the server out because of one worker, an outage for some clients would become one for all. For the same
    reason a log that cannot be written to is only reported: a full disk is no outage for followers."""
    failing = await engine.readiness()
    unwritable = engine.log.unwritable
    here = engine.worker_group.number
    if len(failing) == engine.worker_group.workers:
        return _json(503, NotReady("unavailable", failing[here] if request.principal.metrics else UNSET))
    reasons = [
        *(f"worker {worker}: {reason}" for worker, reason in failing.items()),
        *([unwritable] if unwritable else []),
    ]
    detail = "; ".join(reasons) if reasons and request.principal.metrics else UNSET
    position = f"{engine.log.epoch}-{engine.hub.position}"
    return _json(200, Ready("ok", position, not unwritable, list(failing), detail))


def _json(code: int, body: Health | Ready | NotReady) -> Answer:
    return Answer(code, JSON, msgspec.json.encode(body))
