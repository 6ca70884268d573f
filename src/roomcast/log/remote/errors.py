"""Errors as a log process sends them to a worker: by kind."""

from __future__ import annotations

from collections.abc import Mapping

from roomcast.model.errors import (
    KeyReused,
    LogRestarted,
    LogUnavailable,
    NotOffered,
    RoomcastError,
    TooLarge,
    TooManyRevocations,
)

_BY_KIND: Mapping[str, type[RoomcastError]] = {
    error.kind: error
    for error in (KeyReused, LogRestarted, LogUnavailable, NotOffered, TooLarge, TooManyRevocations)
}


def error_of(kind: str, detail: str) -> RoomcastError:
    """The error that was raised on the other side."""
    return _BY_KIND.get(kind, RoomcastError)(detail)


def kind_of(error: BaseException) -> tuple[str, str]:
    """The kind and the text of an error, for the other side."""
    if isinstance(error, RoomcastError):
        return error.kind, error.detail
    return RoomcastError.kind, "see the server's log"
