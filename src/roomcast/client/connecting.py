"""The options of `connect` and `aconnect`, and the parts that an event source is made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypedDict, TypeVar

from roomcast.client import address
from roomcast.client.decode import Comment, Event
from roomcast.client.http import HttpOptions, OutgoingRequest
from roomcast.client.stream_state import OnOpen, OnPause, StreamState

StreamItem = TypeVar("StreamItem", bound=Event | Comment, covariant=True)
"""The items of an event source: events, and comments if the caller wants them."""

_OF_STATE = ("last_event_id", "retry", "max_delay", "max_block", "again_on", "read_timeout")
_CALLBACKS = ("on_open", "on_pause")
_OF_REQUEST = ("method", "body", "headers", "auth", "proxy")
_OWN = (*_OF_STATE, *_CALLBACKS, *_OF_REQUEST, "comments")


class CommonConnectOptions(TypedDict, total=False):
    """The options that `connect` and `aconnect` have in common."""

    method: str
    """`GET` by default."""
    body: bytes | str | None
    last_event_id: str
    """The event to resume after."""
    retry: float
    """The retry delay in seconds, until the server sends one; 3 by default."""
    max_delay: float
    """Maximum seconds of a pause; 3,600 by default."""
    read_timeout: float | None
    """Seconds of silence after which a connection is dead; None: never, as in the standard."""
    max_block: int
    """Bytes of a line or block; a longer one raises `Endless`. 8 MiB by default."""
    again_on: Collection[int]
    """Statuses that count as a failed connection, such as 502 and 503; by the standard all are final."""
    on_open: OnOpen | None
    """Called with each stream's response; its exceptions end the stream."""
    on_pause: OnPause | None
    """Called before each pause; its exceptions end the stream."""


def prepared(
    url: str, given: Mapping[str, Any]
) -> tuple[HttpOptions, OutgoingRequest, StreamState, dict[str, Any]]:
    """The parts of an event source for `url` and the options in `given`; the last one holds the callbacks by their
    names. Raises `ValueError` for an invalid address, and `TypeError` for an unknown option."""
    others = {name: value for name, value in given.items() if name not in _OWN}
    http = HttpOptions(given.get("headers"), given.get("auth"), given.get("proxy"), others, _OWN)
    body = given.get("body")
    body = body.encode() if isinstance(body, str) else body
    request = OutgoingRequest(given.get("method", "GET"), address.checked(url), body)
    state = StreamState(**{name: given[name] for name in _OF_STATE if name in given})
    return http, request, state, {name: given[name] for name in _CALLBACKS if name in given}
