"""Errors as the log process sends them to a worker: by their kind and text."""

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


def decode_error(kind: str, detail: str) -> RoomcastError:
    """The error of this `kind` with the text `detail`; a plain `RoomcastError` for kinds that no log raises."""
    return _BY_KIND.get(kind, RoomcastError)(detail)


def encode_error(error: BaseException) -> tuple[str, str]:
    """The kind and the text of `error`. The text of an unexpected error stays in the server's log."""
    if isinstance(error, RoomcastError):
        return error.kind, error.detail
    return RoomcastError.kind, "see the server's log"
