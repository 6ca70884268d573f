"""The requests of a roomcast server's API, one function each. No I/O.

`base` is always the address of the server, without a slash at its end.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Raw

from roomcast.client.http import OutgoingRequest
from roomcast.model.errors import Fault, Invalid

Since = str | datetime | timedelta
"""An RFC 3339 time or a duration such as `10m`, as in the API; or a `datetime` with its zone, or a `timedelta`."""
Replay = str | int
"""`all`, `none`, or the number of the newest messages."""

READ_SECONDS = 30.0
"""Seconds of silence after which the client stops waiting for an answer."""
_HEARTBEAT = 15.0
"""Seconds: the server's default."""
_SILENCE = 2.5
"""A stream is dead after the silence of this many heartbeats: every hiccup of a network makes one late."""
_ANSWER_FACTOR, _ANSWER_EACH, _ANSWER_LEAST = 8, 1024, 64 * 1024
"""The answer to a publish may have the first number times the bytes of its request, plus the second number for
each message, plus the third; the answer about a ticket or a revocation, the third. A message comes back with its
id, its time, and the credential's user: 128 characters, each of which JSON may write with 6 bytes."""


class Unset:
    """No value was given; None is a value, JSON's null."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()


def publish(base: str, body: Mapping[str, Any] | Sequence[Mapping[str, Any]], key: str | None) -> OutgoingRequest:
    """Publishes `body`, one message or several, at `base`; `key` is the idempotency key, None for a new one.
    Raises `Invalid` for a value that JSON lacks."""
    headers: list[tuple[str, str | bytes]] = [
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", secrets.token_hex(16) if key is None else key),
    ]
    written = encoded(body)
    count = 1 if isinstance(body, Mapping) else len(body)
    max_answer = len(written) * _ANSWER_FACTOR + count * _ANSWER_EACH + _ANSWER_LEAST
    return OutgoingRequest("POST", f"{base}/messages", written, headers, READ_SECONDS, max_answer)


def publication(room: str, **fields: Any) -> dict[str, Any]:
    """The JSON object of a message to `room`, without those of its other `fields` that were not given."""
    given = {name: value for name, value in fields.items() if value is not None or name == "data"}
    return {"room": room} | {name: value for name, value in given.items() if value is not UNSET}


def max_silence(heartbeat: float | None) -> float:
    """Seconds of silence after which a stream is dead; `heartbeat` is the server's, in seconds."""
    return _SILENCE * (_HEARTBEAT if heartbeat is None else heartbeat)


def follow(
    base: str, rooms: Sequence[str], prefixes: Sequence[str], since: Since | None, replay: Replay | None
) -> OutgoingRequest:
    """Follows `rooms` and all rooms below `prefixes` at `base`, from `since` or as `replay` says. Raises
    `ValueError` if there is neither a room nor a prefix, or if a time has no zone, and `TypeError` if a room or
    prefix is not a string."""
    return OutgoingRequest("GET", _messages(base, rooms, prefixes, since=since, replay=replay))


def history(base: str, rooms: Sequence[str], prefixes: Sequence[str], **parameters: Any) -> OutgoingRequest:
    """Reads a page of the messages of `rooms` and of all rooms below `prefixes` at `base`. The `parameters` are
    further ones of the query; those that are None are left out. Raises the errors of `follow`."""
    return _json(_messages(base, rooms, prefixes, **parameters))


def ticket(base: str, *, seconds: float | None, **content: Any) -> OutgoingRequest:
    """Asks the server at `base` for a ticket that is valid for `seconds`, rounded up; None for the server's
    default. Empty values of its `content` are left out. Repeating it is harmless: the server keeps no tickets."""
    given = {name: value for name, value in content.items() if value}
    if seconds is not None:
        given["seconds"] = math.ceil(seconds)  # the server takes whole seconds
    headers: list[tuple[str, str | bytes]] = [("Accept", "application/json"), ("Content-Type", "application/json")]
    return OutgoingRequest("POST", f"{base}/tickets", encoded(given), headers, READ_SECONDS, _ANSWER_LEAST)


def message(base: str, id: str) -> OutgoingRequest:
    """Reads the message with this `id` at `base`."""
    return _json(f"{base}/messages/{quote(id, safe='')}")


def delete(base: str, id: str) -> OutgoingRequest:
    """Deletes the message with this `id` at `base`."""
    return _delete(f"{base}/messages/{quote(id, safe='')}")


def delete_room(base: str, room: str) -> OutgoingRequest:
    """Deletes all messages of `room` at `base`."""
    return _delete(f"{base}/rooms/{quote(room, safe='')}")


def revoke(base: str, sub: str, iss: str | None, before: datetime | str | None) -> OutgoingRequest:
    """Ends the tokens and tickets of the person `sub` at `base` that were issued before `before`, by default now.
    If `iss` is given, ends only the tokens of that issuer and the tickets issued for them. Repeating it is
    harmless. Raises `ValueError` if a time has no zone."""
    content = {"sub": sub, "iss": iss, "before": None if before is None else _written(before)}
    given = {name: value for name, value in content.items() if value is not None}
    headers: list[tuple[str, str | bytes]] = [("Accept", "application/json"), ("Content-Type", "application/json")]
    return OutgoingRequest("POST", f"{base}/revocations", encoded(given), headers, READ_SECONDS, _ANSWER_LEAST)


def rooms(base: str, page: str = "") -> OutgoingRequest:
    """Lists the rooms at `base`; `page` is the query of a further page."""
    return _json(f"{base}/rooms" + (f"?{page}" if page else ""))


def followers(base: str, behind: int, page: str = "") -> OutgoingRequest:
    """Lists the followers at `base` that are at least `behind` messages behind; `page` is the query of a further
    page."""
    query = {"limit": 1_000, **({"behind": behind} if behind else {})}
    return _json(f"{base}/followers?{page or urlencode(query)}")


def _json(url: str) -> OutgoingRequest:
    return OutgoingRequest("GET", url, None, [("Accept", "application/json")], READ_SECONDS)


def _delete(url: str) -> OutgoingRequest:
    return OutgoingRequest("DELETE", url, None, [("Accept", "application/json")], READ_SECONDS)


def _messages(base: str, rooms: Sequence[str], prefixes: Sequence[str], **parameters: Any) -> str:
    if not rooms and not prefixes:
        raise ValueError("name the rooms, or give prefixes")
    for room in [*rooms, *prefixes]:
        if not isinstance(room, str):  # a list would be sent as the name of one room
            raise TypeError(f"a room must be a string, not {room!r}: give each name by itself")
    named = [*(("room", room) for room in rooms), *(("prefix", prefix) for prefix in prefixes)]
    named += [(name, _written(value)) for name, value in parameters.items() if value is not None]
    return f"{base}/messages?{urlencode(named)}"


def _written(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"{-(-value // timedelta(seconds=1))}s"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs its zone: write datetime.now(UTC), not datetime.now()")
        return value.isoformat()
    return str(value)


def encoded(body: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bytes:
    """Returns `body`, one message or several, as JSON. Raises `Invalid` for a value that JSON lacks."""
    if isinstance(body, Mapping):
        return _object(body)
    return b"[" + b",".join([_object(one) if isinstance(one, Mapping) else _json_of(one) for one in body]) + b"]"


def _object(fields: Mapping[str, Any]) -> bytes:
    return b"{" + b",".join([_json_of(str(n)) + b":" + _json_of(value) for n, value in fields.items()]) + b"}"


def _json_of(value: Any) -> bytes:
    """The standard library encodes: msgspec turns NaN into null, but a value that JSON lacks must be refused. A
    `Raw` is JSON already, and is sent as it is."""
    if isinstance(value, Raw):
        return bytes(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        detail = f"cannot be written as JSON: {error}"
        raise Invalid(f"the message {detail}", [Fault("", detail)]) from None
