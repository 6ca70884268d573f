"""Space: checks that the log has room for an attack, whose messages would otherwise replace those of the users;
and removes the attack's rooms afterwards, if the server allows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from roomcast.torture.target import Target, Unusable

_SIZES = {"messages": 1, "bytes": 150}
"""How much of each cap a message of an attack uses at most."""
_EACH = 2.1
"""Messages per request, on average: one in five is a batch of 2 to 10, and some are sent again."""
_ROW = re.compile(r"^(roomcast_log_(?:messages|bytes)(?:_limit)?) (\S+)$", re.MULTILINE)


class Retained(NamedTuple):
    """The messages or bytes that a log holds, and may hold."""

    held: float
    limit: float


async def check_space(target: Target, messages: int) -> None:
    """Raises `Unusable` if this number of `messages` would trim those of others in the log of `target`, or if that
    cannot be known. Raises the errors of `Target.ask`."""
    others = await _held(target)
    if not others:
        return
    retained = await _retained(target)
    if any(found.held + messages * _SIZES[name] > found.limit for name, found in retained.items()):
        keeps = " and ".join(f"{found.limit:,.0f} {name}" for name, found in retained.items())
        why = f"the log keeps {keeps}, and this attack may publish {messages:,} messages"
    elif len(retained) < len(_SIZES):
        why = "how much the log keeps cannot be found out, since /metrics does not say it"
    else:
        return
    raise Unusable(
        f"{why}: the {others:,} messages that are there would go. Attack for a shorter time (--minutes), or "
        "another server; with --yes they may go"
    )


def max_messages(seconds: float, publishers: int, pause: float) -> int:
    """Returns an upper estimate of the messages that `publishers` publish in `seconds`, with pauses of `pause`
    seconds."""
    return round(_EACH * publishers * seconds / pause)


async def remove_rooms(target: Target, rooms: Iterable[str]) -> None:
    """Removes the attack's `rooms` from `target`. Does nothing on a server that refuses (404, 405, 401, 403,
    501)."""
    for room in rooms:
        try:
            answer = await target.ask("DELETE", f"/rooms/{quote(room, safe='')}")
        except (OSError, TimeoutError, ValueError):
            return
        if answer.status != 204:
            return


async def _held(target: Target) -> int:
    """The number of messages in the first page of rooms."""
    answer = await target.get("/rooms")
    try:
        return sum(int(room["messages"]) for room in answer.json["rooms"])
    except (ValueError, KeyError, TypeError):
        raise Unusable(
            f"/rooms is answered with {answer.status} and no rooms: is ROOMCAST_TOKEN or a --header missing?"
        ) from None


async def _retained(target: Target) -> dict[str, Retained]:
    text = (await target.get("/metrics", accept="text/plain")).body.decode(errors="replace")
    rows = {name.removeprefix("roomcast_log_"): float(value) for name, value in _ROW.findall(text)}
    names = [name for name in _SIZES if name in rows and f"{name}_limit" in rows]
    return {name: Retained(rows[name], rows[f"{name}_limit"]) for name in names}
