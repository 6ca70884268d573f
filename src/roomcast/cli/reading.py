"""The history of any number of rooms, in the order of the log.

A request names 64 rooms at most, and its line has a limit as well. If there are more, groups of rooms are read
side by side and merged, up to one position that is taken first. Messages published meanwhile belong to the next
export, which continues after the newest message of this one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from roomcast.cli import formatting
from roomcast.client import Client, Message, TooMuch

_PAGE = 1000
_MOST_ROOMS, _MOST_BYTES = 64, 6000
"""The limits of one request: the server's, and that of nginx (8 KB for the line) with something to spare."""


def messages(
    client: Client, rooms: Sequence[str], after: str | None, end: str, prefixes: Sequence[str] = ()
) -> Iterator[Message]:
    """Yields the retained messages that the `client` may read in `rooms`, and in rooms whose names begin with one
    of `prefixes`: those after the id `after` (None: from the beginning) up to the id `end`, the oldest first.
    Reports gaps on stderr."""
    named = [room for room in rooms if not room.startswith(tuple(prefixes))]
    groups: list[tuple[Sequence[str], Sequence[str]]] = [(group, ()) for group in grouped(named) if group]
    if prefixes:
        groups.append(((), prefixes))
    page = max(1, _PAGE // max(1, len(groups)))
    return heapq.merge(
        *(_group(client, *group, after, seq(end), page) for group in groups), key=lambda one: seq(one.id)
    )


def grouped(rooms: Sequence[str]) -> Iterator[list[str]]:
    """Groups of as many rooms as one request can name."""
    group: list[str] = []
    size = 0
    for room in rooms:
        written = len(quote(room, safe="")) + len("&room=")
        if group and (len(group) == _MOST_ROOMS or size + written > _MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(room)
        size += written
    yield group


def seq(id: str) -> int:
    """The number in an id."""
    return int(id.rpartition("-")[2])


def _group(
    client: Client, rooms: Sequence[str], prefixes: Sequence[str], after: str | None, end: int, limit: int
) -> Iterator[Message]:
    while True:
        try:
            page = client.history(*rooms, prefixes=prefixes, after=after, limit=limit)
        except TooMuch:
            if limit == 1:
                raise
            limit //= 2
            continue
        if page.gap:
            formatting.say(formatting.gap(page.gap))
        for message in page.messages:
            if seq(message.id) > end:
                return
            yield message
        after = page.position
        if not page.messages or seq(after) >= end:
            return
