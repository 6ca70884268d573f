"""The reasons of refused requests, as an operator distinguishes them in the metrics."""

from __future__ import annotations

from collections.abc import Mapping

from roomcast.model.errors import RoomcastError, TooManyBad

_REASON_OF_KIND: Mapping[str, str] = {
    "internal": "defect",
    "log-unavailable": "log",
    "log-restarted": "log",
    "rights-unavailable": "rights",
    "bad-credential": "credential",
    "unauthenticated": "credential",
    "forbidden": "right",
    "not-served": "host",
    "timed-out": "invalid",
    "malformed": "invalid",
    "not-http": "invalid",
    "too-large": "invalid",
    "unsupported-media-type": "invalid",
    "invalid": "invalid",
    "key-reused": "invalid",
    "head-too-large": "invalid",
    "unknown-coding": "invalid",
}
"""Kinds that are missing here do not count as refusals (such as 404 and 507), or the limits of rate and memory
count them."""
REASONS = tuple(dict.fromkeys(_REASON_OF_KIND.values()))


def reason(error: RoomcastError) -> str:
    """The reason that an error counts for; empty if it counts for none."""
    if isinstance(error, TooManyBad):
        return "credential"
    return _REASON_OF_KIND.get(error.kind, "")
