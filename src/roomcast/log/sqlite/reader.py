"""Reads the database: one connection that cannot write, used by one thread at a time, never the event loop's.

Every read is one statement, and so one short moment: a long one would keep the write-ahead log from being
emptied. A search that may take several is a `Search`: other reads come between its steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

import apsw
import msgspec

from roomcast.log.base import PAGE_BYTES, Bounds, Loss, Page, RoomStats
from roomcast.log.register import REMEMBERED, Register
from roomcast.log.room_list import prefix_end
from roomcast.log.sqlite.queries import NO_END, QUERIES, to_json, unpack
from roomcast.log.sqlite.state import Holes, State
from roomcast.log.sqlite.whole import check_all, check_rooms
from roomcast.log.trimming import Trimmed, in_order, losses_between, position_before, watermark
from roomcast.model.message import Message
from roomcast.model.rooms import Selection

FETCH_BYTES = 1024 * 1024
FETCH_MESSAGES = 2_000
WALK_ROOMS = 5_000
"""How many rooms are looked at in one read for those with a prefix: 1 ms."""
WALK_MESSAGES = 20_000
"""How many messages one statement walks over for those of many rooms: some 10 ms."""
_ARMS = (1, 4, 16, 64, 256)
"""How many rooms a statement is made for: few sizes, so that each is compiled once."""

_stats_rows = msgspec.json.Decoder(list[tuple[str, int, int, int, int]])
_Row = tuple[str, int, int, int, int, int]
"""A room, how far it is trimmed (as in `Trimmed`), and its newest message."""
_rooms = msgspec.json.Decoder(list[_Row])
_room_names = msgspec.json.Decoder(list[str])
_deleted = msgspec.json.Decoder(list[tuple[str, int, int]])
_registered = msgspec.json.Decoder(dict[str, list[int]])
_REGISTER_ROWS = 100
"""How many rows of the register are read at once."""


T = TypeVar("T")
Search = Iterator[T | None]
"""Steps of some 10 ms: each gives None but the last, which gives what was found."""
_NAMED = "room IN (SELECT value FROM json_each(:rooms))"


class Reader:
    """History, as of now."""

    def __init__(self, connection: apsw.Connection, most: int = REMEMBERED, holes: Holes | None = None) -> None:
        """`most`: for at least this many of the newest messages the room is known, even if they are gone."""
        self._connection = connection
        self._most = most
        self._holes = Holes() if holes is None else holes
        self._register: Register | None = None
        """The register; read on demand, as far as it reaches at that time."""

    def page(self, selection: Selection, after: int, limit: int, before: int | None) -> Search[Page]:
        asked = self._found(selection, after, before)
        page = self._page(asked, after, after, max(limit, 1))
        deleted: list[Loss] = []
        while not page.messages and page.cut:  # all that it found was deleted, or it walked over others' messages
            yield None
            deleted += [loss for loss in page.losses if loss.number]
            page = self._page(asked, page.position, after, max(limit, 1))
        losses = sorted([*deleted, *page.losses], key=in_order) if deleted else page.losses
        oldest = self._oldest(asked) if losses else 0
        yield Page(page.messages, page.position, losses, oldest, page.deletions)

    def _found(self, selection: Selection, after: int, before: int | None) -> _Asked:
        """What a selection is at this moment, as far as it has had messages after a position."""
        rooms, prefixes = selection
        if not prefixes:
            return _Asked(selection, rooms, before)
        parameters = _spans(prefixes) | {"after": after, "most": _ARMS[-1] + 1}
        newest, text = self._row(_find_rooms(_span_size(prefixes)), parameters)
        found = rooms.union(_room_names.decode(text))
        # A room that comes meanwhile may not be among them: no further than what is known now.
        end = newest + 1 if before is None else min(before, newest + 1)
        return _Asked(selection, found if len(found) <= _ARMS[-1] else None, end)

    def _page(self, asked: _Asked, after: int, whole: int, limit: int) -> _Found:
        before, last = asked.before, NO_END if asked.before is None else asked.before - 1
        if asked.rooms is None:
            before = min(last, after + WALK_MESSAGES) + 1
        parameters = {"after": after, "before": NO_END if before is None else before, "limit": limit}
        newest, forgotten, forgotten_at, trimmed, deletions, deleted, heads, bodies = self._row(
            asked.page_statement(self._holes.purging),
            parameters | asked.parameters() | {"most_bytes": PAGE_BYTES, "whole": whole},
        )
        messages = unpack(heads, bodies)
        cut = len(messages) >= limit or len(bodies or b"") >= PAGE_BYTES
        end = newest if before is None else min(newest, max(after, before - 1))
        known = _rooms.decode(trimmed)
        ends = {} if cut else {room: seq for room, *_, seq in known if seq <= end}
        check_rooms(messages, {room: seq for room, seq, *_ in known}, ends, after)
        unknown = watermark(forgotten, forgotten_at)
        losses = losses_between(asked.selection, _by_room(known), unknown, whole, asked.before, self._between)
        position = messages[-1].seq if cut and messages else end
        if gone := _deleted.decode(deleted):
            losses += [Loss(room, seq, 1, 0, number) for room, seq, number in gone]
            losses.sort(key=in_order)
            seqs = {seq for _, seq, _ in gone}
            messages = [message for message in messages if message.seq not in seqs]
        return _Found(messages, position, losses, deletions, cut or end < min(newest, last))

    def _between(self, room: str, after: int, last: int) -> int:
        """Upper bound of a room's messages in between. `last` is gone, and therefore in the register."""
        register = self._register
        if register is None:
            [since] = self._row(QUERIES["begin_register"])
            register = self._register = Register(int(since), self._most)
        while register.reach < last:
            parameters = {"after": register.reach, "limit": _REGISTER_ROWS}
            rows = list(self._connection.execute(QUERIES["load_register"], parameters))
            for first, reach, rooms in rows:
                if first > register.reach + 1:  # unused for so long that rows in between were dropped
                    register.begin(first - 1)
                for name, seqs in _registered.decode(rooms).items():
                    register.note(name, seqs)
                register.reached(reach)
            if not rows:
                break
        return register.between(room, after, last)

    def _oldest(self, asked: _Asked) -> int:
        newest, oldest = self._row(QUERIES["oldest"].format(chosen=asked.chosen()), asked.parameters())
        return int(newest + 1 if oldest is None else oldest)

    def fetch(self, after: int) -> Sequence[Message]:
        """The first messages of the whole log after a position."""
        parameters = {"after": after, "before": NO_END, "limit": FETCH_MESSAGES, "most_bytes": FETCH_BYTES}
        state = self._state()
        if self._holes:
            return unpack(*self._row(_page_of_all_but(), parameters))
        messages = unpack(*self._row(QUERIES["page_of_all"], parameters))
        self._check(messages, after, state)
        return messages

    def _check(self, messages: Sequence[Message], after: int, state: State) -> None:
        """Raises `apsw.CorruptError` where messages after `after` are missing."""
        if not messages and state.dense and max(after, self._state().trimmed) < state.newest:
            raise apsw.CorruptError(f"messages after {after} are missing")
        held = {message.seq for message in messages}
        if open_ended := {m.room for m in messages if m.prev > after and m.prev not in held}:
            [found] = self._row(QUERIES["trimmed"], {"rooms": to_json(sorted(open_ended))})
            check_all(messages, {room: seq for room, seq, *_ in _rooms.decode(found)}, after)

    def get(self, seq: int) -> Message | None:
        parameters = {"after": seq - 1, "before": seq + 1, "limit": 1, "most_bytes": NO_END}
        before = self._state()
        found = unpack(*self._row(_page_of_all_but() if self._holes else QUERIES["page_of_all"], parameters))
        if not found and not self._holes and seq <= before.newest:
            after = self._state()
            if before.dense and after.dense and after.trimmed < seq:
                raise apsw.CorruptError(f"message {seq} is missing")
        return found[0] if found else None

    def seek_newest(self, selection: Selection, count: int, before: int | None) -> Search[int]:
        asked = self._found(selection, 0, before)
        position, end, left = None, NO_END if asked.before is None else asked.before, count
        while True:
            # Of many rooms others' messages are walked over as well.
            after = 0 if asked.rooms is not None else max(0, end - 1 - WALK_MESSAGES)
            parameters = {"after": after, "before": end, "limit": min(left, WALK_MESSAGES)}
            statement = asked.seek_statement(self._holes.deleted, self._holes.purging)
            newest, trimmed, number, oldest = self._row(statement, parameters | asked.parameters())
            if number:
                position = oldest - 1
            elif position is None:
                position = max(0, min(newest, end - 1))
            left -= number
            end = oldest if number == parameters["limit"] else after + 1
            if not left or end <= trimmed + 1:
                break
            yield None
        yield position

    def seek_time(self, selection: Selection, since: int) -> int:
        size = _span_size(selection.prefixes)
        position, forgotten, forgotten_at, trimmed = self._row(
            _seek_time(size),
            {"since": since, "rooms": to_json(sorted(selection.rooms))} | _spans(selection.prefixes),
        )
        known = _by_room(_rooms.decode(trimmed))
        return max(int(position), position_before(selection, known, watermark(forgotten, forgotten_at), since))

    def bounds(self) -> Bounds:
        return Bounds(*self._row(QUERIES["load_bounds"]))

    def rooms_by_name(self, prefix: str, after: str | None, limit: int, oldest: bool) -> Sequence[RoomStats]:
        """`oldest`: whether to say when each one's oldest was stored."""
        # In no name there is a control character, so nothing lies between.
        first = prefix if after is None else max(prefix, f"{after}\0")
        name = "rooms_by_name_with_oldest" if oldest else "rooms_by_name"
        [rooms] = self._row(QUERIES[name], {"first": first, "end": _end(prefix), "limit": limit})
        return _stats(rooms)

    def rooms_by_newest(
        self, prefix: str, before: int, limit: int, oldest: bool
    ) -> tuple[Sequence[RoomStats], int]:
        """Also before which message to go on; 0 where there are no more."""
        parameters = {"before": before, "limit": limit, "most": WALK_ROOMS if prefix else limit}
        name = "rooms_by_newest_with_oldest" if oldest else "rooms_by_newest"
        reached, rooms = self._row(QUERIES[name], parameters | {"first": prefix, "end": _end(prefix)})
        return _stats(rooms), reached

    def close(self) -> None:
        self._connection.close()

    def _state(self) -> State:
        return State(*self._row(QUERIES["load_state"]))

    def _row(self, statement: str, parameters: dict[str, Any] | None = None) -> Any:
        # The list steps past the row: a statement left standing there holds its moment open.
        [row] = list(self._connection.execute(statement, parameters))
        return row


class _Asked(NamedTuple):
    """The rooms of a selection that a page is of, and how they are asked for."""

    selection: Selection
    rooms: frozenset[str] | None
    """Those that are named, and by prefix those that have had messages after a position. None: too many for a
    statement that has an arm for each. The log is walked over then, and each message's room compared."""
    before: int | None

    def parameters(self) -> dict[str, Any]:
        if self.rooms is not None:
            return _names(self.rooms)
        return {"rooms": to_json(sorted(self.selection.rooms))} | _spans(self.selection.prefixes)

    def chosen(self) -> str:
        """The condition that a room is among them."""
        return _NAMED if self.rooms is not None else _chosen(_span_size(self.selection.prefixes))

    def page_statement(self, purging: bool) -> str:
        if self.rooms is not None:
            return _page_of_rooms(_size(self.rooms), purging)
        return _page_of_many(_span_size(self.selection.prefixes), purging)

    def seek_statement(self, deleted: bool, purging: bool) -> str:
        if self.rooms is not None:
            return _seek_newest(_size(self.rooms), deleted, purging)
        return _seek_newest_of_many(_span_size(self.selection.prefixes), deleted, purging)


class _Found(NamedTuple):
    """A page, and whether it ended before all was read."""

    messages: Sequence[Message]
    position: int
    losses: Sequence[Loss]
    deletions: int
    cut: bool


@cache
def _page_of_rooms(size: int, purging: bool) -> str:
    but, all_but = (QUERIES["not_purged"], QUERIES["none_purged"]) if purging else ("", "")
    picked = QUERIES["pick_rooms"].format(arms=_arms(size, but))
    return _read_page(picked, f"{_NAMED} {all_but}", QUERIES["trimmed"], _NAMED)


@cache
def _page_of_many(spans: int, purging: bool) -> str:
    all_but = QUERIES["none_purged"] if purging else ""
    # The plus keeps SQLite from the index of rooms, whose messages it would have to put in order.
    chosen = f"{_chosen(spans, '+room')} {all_but}"
    picked = QUERIES["pick_range"].replace("ORDER", f"AND {chosen} ORDER")
    return _read_page(picked, chosen, _trimmed_of_many(spans, "trimmed > :whole"), _chosen(spans))


def _read_page(picked: str, chosen: str, trimmed: str, of_rooms: str) -> str:
    page = QUERIES["page"].format(picked=picked, chosen=chosen)
    deleted = QUERIES["deleted"].format(chosen=of_rooms)
    return QUERIES["read_page"].format(trimmed=trimmed, deleted=deleted, page=page)


@cache
def _find_rooms(spans: int) -> str:
    return QUERIES["find_rooms"].format(chosen=_in_spans(spans))


@cache
def _seek_time(spans: int) -> str:
    trimmed = _trimmed_of_many(spans, "trimmed_at < :since") if spans else QUERIES["trimmed"]
    return QUERIES["seek_time"].format(trimmed=trimmed)


def _trimmed_of_many(spans: int, which: str) -> str:
    return QUERIES["trimmed"].replace(_NAMED, f"({_NAMED} OR ({which} AND {_in_spans(spans)}))")


def _chosen(spans: int, room: str = "room") -> str:
    return f"({_in_spans(spans, room)} OR {_NAMED.replace('room', room, 1)})"


def _in_spans(spans: int, room: str = "room") -> str:
    return "(" + " OR ".join(f"({room} >= :first{n} AND {room} < :end{n})" for n in range(spans)) + ")"


@cache
def _page_of_all_but() -> str:
    but = f"{QUERIES['none_purged']} {QUERIES['not_deleted']}"
    return QUERIES["page"].format(
        picked=QUERIES["pick_range"].replace("ORDER", f"{but} ORDER"), chosen=f"true {but}"
    )


@cache
def _seek_newest(size: int, deleted: bool, purging: bool) -> str:
    but = [QUERIES["not_deleted"]] * deleted + [QUERIES["not_purged"]] * purging
    return QUERIES["seek_newest"].format(arms=_arms(size, " ".join(but)))


@cache
def _seek_newest_of_many(spans: int, deleted: bool, purging: bool) -> str:
    but = [QUERIES["not_deleted"]] * deleted + [QUERIES["none_purged"]] * purging
    chosen = " ".join([f"AND {_chosen(spans, '+room')}", *but])
    return QUERIES["seek_newest"].format(arms=QUERIES["pick_range"].replace("ORDER BY seq LIMIT :limit", chosen))


def _arms(size: int, but: str = "") -> str:
    arm = QUERIES["pick_room"].format(room="{room}", but=but)
    return " UNION ALL ".join(arm.format(room=f"room{index}") for index in range(size))


def _size(rooms: Collection[str]) -> int:
    return next(size for size in _ARMS if size >= len(rooms))


def _names(rooms: Collection[str]) -> dict[str, Any]:
    """The rooms, each for its arm; NULL, which equals no room, for an arm that is left over."""
    names: dict[str, Any] = dict.fromkeys((f"room{index}" for index in range(_size(rooms))), None)
    names.update((f"room{index}", room) for index, room in enumerate(rooms))
    return names | {"rooms": to_json(sorted(rooms))}


def _span_size(prefixes: Sequence[str]) -> int:
    """How many spans of names a statement compares; 0 where there are no prefixes."""
    return _size(prefixes) if prefixes else 0


def _spans(prefixes: Sequence[str]) -> dict[str, Any]:
    """Where the names with each prefix begin and end; NULL, with which all comparisons fail, for what is left."""
    spans: dict[str, Any] = {f"{side}{n}": None for n in range(_span_size(prefixes)) for side in ("first", "end")}
    for n, prefix in enumerate(prefixes):
        spans |= {f"first{n}": prefix, f"end{n}": _end(prefix)}
    return spans


def _end(prefix: str) -> str | bytes:
    """Where the names with a prefix end. Every text is less than a blob."""
    end = prefix_end(prefix)
    return b"" if end is None else end


def _stats(rooms: str) -> Sequence[RoomStats]:
    return [RoomStats(*room) for room in _stats_rows.decode(rooms)]


def _by_room(known: Sequence[_Row]) -> dict[str, Trimmed]:
    return {room: Trimmed(*fields) for room, *fields, _ in known}
