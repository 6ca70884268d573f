"""What is asked of a roomcast server: one function for each request of its API. No I/O."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Raw

from roomcast.client.http import Ask
from roomcast.model.errors import Fault, Invalid

Since = str | datetime | timedelta
"""An RFC 3339 time or a duration such as `10m`, as the API has it, or Python's own (a time with its zone)."""
Replay = str | int
"""`all`, `none`, or how many of the newest."""

READ_SECONDS = 30.0
"""Silence after which an answer is no longer waited for."""
_HEARTBEAT = 15.0
"""Seconds: the server's, unless it is told otherwise."""
_SILENCE = 2.5
"""Heartbeats that may fail to come before a stream is dead: one is late with every hiccup of a network."""


_ANSWERED, _MORE = 8, 64 * 1024
"""A message of 23 bytes comes back with its id, user and time as one of some 120."""


class Unset:
    """No value was given: None is one, JSON's null."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()


def publish(base: str, body: Mapping[str, Any] | Sequence[Mapping[str, Any]], key: str | None) -> Ask:
    """One message, or several at once. Raises `Invalid` where that is no JSON."""
    headers: list[tuple[str, str | bytes]] = [
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", secrets.token_hex(16) if key is None else key),
    ]
    written = encoded(body)
    return Ask("POST", f"{base}/messages", written, headers, READ_SECONDS, len(written) * _ANSWERED + _MORE)


def publication(room: str, **fields: Any) -> dict[str, Any]:
    """A message as its publisher writes it, without what was not given."""
    given = {name: value for name, value in fields.items() if value is not None or name == "data"}
    return {"room": room} | {name: value for name, value in given.items() if value is not UNSET}


def silence(heartbeat: float | None) -> float:
    """Seconds after which a stream that says nothing is dead."""
    return _SILENCE * (_HEARTBEAT if heartbeat is None else heartbeat)


def follow(
    base: str, rooms: Sequence[str], prefixes: Sequence[str], since: Since | None, replay: Replay | None
) -> Ask:
    """A stream. Raises `ValueError` where there is no room, and `TypeError` where one is no name."""
    return Ask("GET", _messages(base, rooms, prefixes, since=since, replay=replay))


def history(base: str, rooms: Sequence[str], prefixes: Sequence[str], **parameters: Any) -> Ask:
    """A page of messages. Raises as `follow` does."""
    return _json(_messages(base, rooms, prefixes, **parameters))


def ticket(base: str, *, seconds: float | None, **content: Any) -> Ask:
    """A ticket for what is given and not empty. Asking again for it is harmless: the server keeps none."""
    given = {name: value for name, value in content.items() if value}
    if seconds is not None:
        given["seconds"] = math.ceil(seconds)  # the server takes whole ones
    headers: list[tuple[str, str | bytes]] = [("Accept", "application/json"), ("Content-Type", "application/json")]
    return Ask("POST", f"{base}/tickets", encoded(given), headers, READ_SECONDS, _MORE)


def message(base: str, id: str) -> Ask:
    """One message."""
    return _json(f"{base}/messages/{quote(id, safe='')}")


def delete(base: str, id: str) -> Ask:
    """One message is to go."""
    return _delete(f"{base}/messages/{quote(id, safe='')}")


def delete_room(base: str, room: str) -> Ask:
    """All that a room has is to go."""
    return _delete(f"{base}/rooms/{quote(room, safe='')}")


def revoke(base: str, sub: str, iss: str | None, before: datetime | str | None) -> Ask:
    """A request to end a person's tokens and tickets. Repeating it is harmless."""
    content = {"sub": sub, "iss": iss, "before": None if before is None else _written(before)}
    given = {name: value for name, value in content.items() if value is not None}
    headers: list[tuple[str, str | bytes]] = [("Accept", "application/json"), ("Content-Type", "application/json")]
    return Ask("POST", f"{base}/revocations", encoded(given), headers, READ_SECONDS, _MORE)


def rooms(base: str, page: str = "") -> Ask:
    """The rooms there are; `page` is the query of a further page."""
    return _json(f"{base}/rooms" + (f"?{page}" if page else ""))


def followers(base: str, behind: int, page: str = "") -> Ask:
    """A request for the followers with at least `behind` messages yet to pass; `page` is the query of a further
    page."""
    asked = {"limit": 1_000, **({"behind": behind} if behind else {})}
    return _json(f"{base}/followers?{page or urlencode(asked)}")


def _json(url: str) -> Ask:
    return Ask("GET", url, None, [("Accept", "application/json")], READ_SECONDS)


def _delete(url: str) -> Ask:
    return Ask("DELETE", url, None, [("Accept", "application/json")], READ_SECONDS)


def _messages(base: str, rooms: Sequence[str], prefixes: Sequence[str], **parameters: Any) -> str:
    if not rooms and not prefixes:
        raise ValueError("name the rooms, or what their names begin with")
    for room in [*rooms, *prefixes]:
        if not isinstance(room, str):  # a list of them would be written out, and followed as one room
            raise TypeError(f"a room is a string, and {room!r} is none: name each by itself")
    named = [*(("room", room) for room in rooms), *(("prefix", prefix) for prefix in prefixes)]
    named += [(name, _written(value)) for name, value in parameters.items() if value is not None]
    return f"{base}/messages?{urlencode(named)}"


def _written(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"{-(-value // timedelta(seconds=1))}s"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs its zone: datetime.now(UTC), not datetime.now()")
        return value.isoformat()
    return str(value)


def encoded(body: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bytes:
    """One message, or several, as JSON. Raises `Invalid`."""
    if isinstance(body, Mapping):
        return _object(body)
    return b"[" + b",".join([_object(one) if isinstance(one, Mapping) else _json_of(one) for one in body]) + b"]"


def _object(fields: Mapping[str, Any]) -> bytes:
    return b"{" + b",".join([_json_of(str(n)) + b":" + _json_of(value) for n, value in fields.items()]) + b"}"


def _json_of(value: Any) -> bytes:
    """Not by msgspec's encoder: it turns NaN into null, and what JSON lacks must be refused, not changed. A `Raw`
    is JSON already, and goes as it is written."""
    if isinstance(value, Raw):
        return bytes(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        detail = f"is not what JSON can say: {error}"
        raise Invalid(f"the message {detail}", [Fault("", detail)]) from None
