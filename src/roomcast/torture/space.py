"""Whether there is room for an attack in the log, beside what its users have there: what is published takes the
place of the oldest messages. And afterwards, where the server allows it, the attack's rooms go."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from roomcast.torture.target import Target, Unusable

_SIZES = {"messages": 1, "bytes": 150}
"""What a message of an attack takes of each cap, at most."""
_EACH = 2.1
"""Messages of a request, on average: one in five is a batch of 2 to 10, and some are sent again."""
_ROW = re.compile(r"^(roomcast_log_(?:messages|bytes)(?:_limit)?) (\S+)$", re.MULTILINE)


class Retained(NamedTuple):
    """What a log holds and may hold, of messages or of bytes."""

    held: float
    limit: float


async def check_space(target: Target, messages: int) -> None:
    """Raises `Unusable` where so many messages would trim those of others, or where nobody knows."""
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


def most_messages(seconds: float, publishers: int, pause: float) -> int:
    """How many messages an attack publishes at most, or a few more."""
    return round(_EACH * publishers * seconds / pause)


async def remove_rooms(target: Target, rooms: Iterable[str]) -> None:
    """Removes the attack's rooms. A server that does not let it (404, 405, 401, 403, 501) keeps them."""
    for room in rooms:
        try:
            answer = await target.ask("DELETE", f"/rooms/{quote(room, safe='')}")
        except (OSError, TimeoutError, ValueError):
            return
        if answer.status != 204:
            return


async def _held(target: Target) -> int:
    """How many messages there are, as far as one page of rooms says."""
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
