"""Makes an error into an answer (RFC 9457)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from roomcast.api.answer import Answer, Field, HeaderFields
from roomcast.model.errors import (
    Fault,
    LogUnavailable,
    MethodNotAllowed,
    Overloaded,
    RightsUnavailable,
    RoomcastError,
    TooMany,
    Unauthenticated,
)
from roomcast.model.redact import without_credentials
from roomcast.model.shapes import PROBLEM_TYPE, Problem

_FIELDS = HeaderFields((b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"))
_CACHED = 16
"""Refusals cached as bytes. Their texts are fixed and few: a flood gets the same few answers."""


def problem(error: RoomcastError) -> Answer:
    """The answer that tells a client of `error`, as JSON, without the secrets that its texts may quote."""
    if isinstance(error, Unauthenticated) and not error.faults:
        return Answer(error.status, _FIELDS, *_cached(type(error), error.detail))  # type: ignore[arg-type]  # mypy: no hash
    return _problem(error)


@lru_cache(_CACHED)
def _cached(kind: type[Unauthenticated], detail: str) -> tuple[bytes, Sequence[Field]]:
    """The body of the answer, and the header fields of this answer alone."""
    answer = _problem(kind(detail))
    return answer.body, answer.own


def _problem(error: RoomcastError) -> Answer:
    faults = [Fault(fault.pointer, without_credentials(fault.detail)) for fault in error.faults]
    body = Problem(PROBLEM_TYPE + error.kind, error.title, error.status, without_credentials(error.detail), faults)
    return Answer(error.status, _FIELDS, msgspec.json.encode(body), _own(error))


def _own(error: RoomcastError) -> list[Field]:
    if error.challenge is not None:
        challenge = ", ".join(filter(None, ['Bearer realm="roomcast"', error.challenge]))
        return [(b"www-authenticate", challenge.encode())]
    if isinstance(error, LogUnavailable | Overloaded | RightsUnavailable | TooMany):
        return [(b"retry-after", b"%d" % error.retry_after)]
    if isinstance(error, MethodNotAllowed):
        return [(b"allow", ", ".join(error.allowed).encode())]
    return []
