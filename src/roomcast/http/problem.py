"""An error as an answer: RFC 9457."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from roomcast.model.errors import LogUnavailable, MethodNotAllowed, RoomcastError


def problem(error: RoomcastError, *, closing: bool = False) -> Response:
    """The error as a client sees it; `closing` where the connection is of no further use."""
    body = {
        "type": f"urn:problem-type:roomcast:{error.kind}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "errors": [fault._asdict() for fault in error.faults],
    }
    headers = {"cache-control": "no-store"}
    if isinstance(error, LogUnavailable):
        headers["retry-after"] = str(error.retry_after)
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = ", ".join(error.allowed)
    if closing:
        headers["connection"] = "close"
    return Response(msgspec.json.encode(body), error.status, headers, "application/problem+json")
