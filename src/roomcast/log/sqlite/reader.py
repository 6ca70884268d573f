"""Reads the database: one connection that cannot write, used by one thread at a time, never the event loop's.

Every read is one statement, and so one short moment: a long one would keep the write-ahead log from being
emptied.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import apsw
import msgspec

from roomcast.log.base import Bounds, Page, RoomStats, Start
from roomcast.log.room_list import prefix_end
from roomcast.log.sqlite.queries import NO_END, QUERIES, to_json, unpack
from roomcast.log.sqlite.state import State
from roomcast.log.sqlite.whole import check_dense, check_rooms
from roomcast.log.trimming import Trimmed, losses_between, losses_since, watermark
from roomcast.model.message import Message

PAGE_BYTES = 256 * 1024
FETCH_BYTES = 1024 * 1024
FETCH_MESSAGES = 2_000
WALK_ROOMS = 5_000
"""How many rooms are looked at in one read for those with a prefix: 1 ms."""
_ARMS = (1, 4, 16, 64, 256)
"""How many rooms a statement is made for: few sizes, so that each is compiled once."""

_stats_rows = msgspec.json.Decoder(list[tuple[str, int, int, int]])
_rooms = msgspec.json.Decoder(list[tuple[str, int, int, int, int]])


class Reader:
    """History, as of now."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def page(self, rooms: frozenset[str], after: int, limit: int, before: int | None) -> Page:
        parameters = {"after": after, "before": NO_END if before is None else before, "limit": max(limit, 1)}
        newest, forgotten, forgotten_at, trimmed, heads, bodies = self._row(
            _page_of_rooms(_size(rooms)), parameters | _names(rooms) | {"most_bytes": PAGE_BYTES}
        )
        messages = unpack(heads, bodies)
        cut = len(messages) >= limit or len(bodies or b"") >= PAGE_BYTES
        end = newest if before is None else min(newest, max(after, before - 1))
        known = _rooms.decode(trimmed)
        ends = {} if cut else {room: seq for room, *_, seq in known if seq <= end}
        check_rooms(messages, {room: seq for room, seq, *_ in known}, ends, after)
        losses = losses_between(rooms, _by_room(known), watermark(forgotten, forgotten_at), after, before)
        return Page(messages, messages[-1].seq if cut and messages else end, losses)

    def fetch(self, after: int) -> Sequence[Message]:
        """The first messages of the whole log after a position."""
        parameters = {"after": after, "before": NO_END, "limit": FETCH_MESSAGES, "most_bytes": FETCH_BYTES}
        newest = self._state().newest
        messages = unpack(*self._row(QUERIES["page_of_all"], parameters))
        first = max(after, self._state().trimmed) + 1  # it may be trimmed further by now, and no less
        if messages:
            check_dense(messages, min(first, messages[0].seq))
        elif first <= newest:
            raise apsw.CorruptError(f"message {first} is missing")
        return messages

    def get(self, seq: int) -> Message | None:
        parameters = {"after": seq - 1, "before": seq + 1, "limit": 1, "most_bytes": NO_END}
        state = self._state()
        found = unpack(*self._row(QUERIES["page_of_all"], parameters))
        if not found and self._state().trimmed < seq <= state.newest:
            raise apsw.CorruptError(f"message {seq} is missing")
        return found[0] if found else None

    def seek_newest(self, rooms: frozenset[str], count: int, before: int | None) -> int:
        parameters = {"after": 0, "before": NO_END if before is None else before, "limit": count}
        newest, oldest = self._row(_seek_newest(_size(rooms)), parameters | _names(rooms))
        end = newest if before is None else max(0, min(newest, before - 1))
        return int(end if oldest is None else oldest - 1)

    def seek_time(self, rooms: frozenset[str], since: int) -> Start:
        position, forgotten, forgotten_at, trimmed = self._row(
            _SEEK_TIME, {"since": since, "rooms": to_json(sorted(rooms))}
        )
        unknown = watermark(forgotten, forgotten_at)
        return Start(position, losses_since(rooms, _by_room(_rooms.decode(trimmed)), unknown, since))

    def bounds(self) -> Bounds:
        state = self._state()
        return Bounds(state.trimmed, state.newest, state.bytes)

    def rooms_by_name(self, prefix: str, after: str | None, limit: int) -> Sequence[RoomStats]:
        # In no name there is a control character, so nothing lies between.
        first = prefix if after is None else max(prefix, f"{after}\0")
        [rooms] = self._row(QUERIES["rooms_by_name"], {"first": first, "end": _end(prefix), "limit": limit})
        return _stats(rooms)

    def rooms_by_newest(self, prefix: str, before: int, limit: int) -> tuple[Sequence[RoomStats], int]:
        """Also before which message to go on; 0 where there are no more."""
        parameters = {"before": before, "limit": limit, "most": WALK_ROOMS if prefix else limit}
        reached, rooms = self._row(QUERIES["rooms_by_newest"], parameters | {"first": prefix, "end": _end(prefix)})
        return _stats(rooms), reached

    def close(self) -> None:
        self._connection.close()

    def _state(self) -> State:
        return State(*self._row(QUERIES["load_state"]))

    def _row(self, statement: str, parameters: dict[str, Any] | None = None) -> Any:
        # The list steps past the row: a statement left standing there holds its moment open.
        [row] = list(self._connection.execute(statement, parameters))
        return row


_SEEK_TIME = QUERIES["seek_time"].format(trimmed=QUERIES["trimmed"])


@cache
def _page_of_rooms(size: int) -> str:
    picked = QUERIES["pick_rooms"].format(arms=_arms(size))
    page = QUERIES["page"].format(picked=picked, chosen="room IN (SELECT value FROM json_each(:rooms))")
    return QUERIES["read_page"].format(trimmed=QUERIES["trimmed"], page=page)


@cache
def _seek_newest(size: int) -> str:
    return QUERIES["seek_newest"].format(arms=_arms(size))


def _arms(size: int) -> str:
    return " UNION ALL ".join(QUERIES["pick_room"].format(room=f"room{index}") for index in range(size))


def _size(rooms: frozenset[str]) -> int:
    return next(size for size in _ARMS if size >= len(rooms))


def _names(rooms: frozenset[str]) -> dict[str, Any]:
    """The rooms, each for its arm; NULL, which equals no room, for an arm that is left over."""
    names: dict[str, Any] = dict.fromkeys((f"room{index}" for index in range(_size(rooms))), None)
    names.update((f"room{index}", room) for index, room in enumerate(rooms))
    return names | {"rooms": to_json(sorted(rooms))}


def _end(prefix: str) -> str | bytes:
    """Where the names with a prefix end. Every text is less than a blob."""
    end = prefix_end(prefix)
    return b"" if end is None else end


def _stats(rooms: str) -> Sequence[RoomStats]:
    return [RoomStats(*room) for room in _stats_rows.decode(rooms)]


def _by_room(known: Sequence[tuple[str, int, int, int, int]]) -> dict[str, Trimmed]:
    return {room: Trimmed(*fields) for room, *fields, _ in known}
