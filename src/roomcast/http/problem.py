"""An error as an answer: RFC 9457."""

from __future__ import annotations

import msgspec

from roomcast.api.request import Answer, Field, Fields
from roomcast.model.errors import LogUnavailable, MethodNotAllowed, Overloaded, RoomcastError, TooMany
from roomcast.model.shapes import PROBLEM_TYPE, Problem

_FIELDS = Fields((b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"))


def problem(error: RoomcastError) -> Answer:
    """The error as a client sees it."""
    body = Problem(PROBLEM_TYPE + error.kind, error.title, error.status, error.detail, error.faults)
    return Answer(error.status, _FIELDS, msgspec.json.encode(body), _own(error))


def _own(error: RoomcastError) -> list[Field]:
    if error.challenge is not None:
        challenge = ", ".join(filter(None, ['Bearer realm="roomcast"', error.challenge]))
        return [(b"www-authenticate", challenge.encode())]
    if isinstance(error, LogUnavailable | Overloaded | TooMany):
        return [(b"retry-after", b"%d" % error.retry_after)]
    if isinstance(error, MethodNotAllowed):
        return [(b"allow", ", ".join(error.allowed).encode())]
    return []
