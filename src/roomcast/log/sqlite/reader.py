"""Reads the database: one connection that cannot write, used by one thread at a time, never the event loop's.

Every statement is a short transaction of its own: a long one would keep the write-ahead log from being emptied. A
search that may take long is a `Search`: other reads run between its steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import apsw
import msgspec

from roomcast.log.base import PAGE_BYTES, Bounds, Loss, Page, RoomStats
from roomcast.log.register import LEAST_REGISTERED, Register
from roomcast.log.sqlite.integrity import check_complete, check_rooms_complete
from roomcast.log.sqlite.queries import NO_END, QUERIES, one_row, to_json, unpack
from roomcast.log.sqlite.state import ContentFlags, LogState
from roomcast.log.sqlite.statements import (
    ChosenRooms,
    end_of,
    find_rooms_statement,
    max_arms,
    page_without_deleted,
    seek_time_statement,
    span_count,
    spans,
)
from roomcast.log.trimming import Trimming, in_order, losses_between, position_before, watermark
from roomcast.model.message import Message
from roomcast.model.rooms import Selection

FETCH_BYTES = 1024 * 1024
FETCH_MESSAGES = 2_000
WALK_ROOMS = 5_000
"""How many rooms one read looks at to find those with a prefix. It takes 1 ms."""
WALK_MESSAGES = 20_000
"""How many messages one statement looks at to find those of many rooms. It takes some 10 ms."""

_stats_rows = msgspec.json.Decoder(list[tuple[str, int, int, int, int]])
_Row = tuple[str, int, int, int, int, int]
"""A room, how far it is trimmed (as in `Trimming`), and its newest message."""
_rooms = msgspec.json.Decoder(list[_Row])
_room_names = msgspec.json.Decoder(list[str])
_deleted = msgspec.json.Decoder(list[tuple[str, int, int]])
_registered = msgspec.json.Decoder(dict[str, list[int]])
_REGISTER_ROWS = 100
"""How many rows of the register are read at once."""

T = TypeVar("T")
Search = Iterator[T | None]
"""Steps of some 10 ms. Each returns None except the last, which returns the result."""


class SqliteReader:
    """Reads the log as it is at the time of each read. Every method may raise `apsw.Error`."""

    def __init__(
        self, connection: apsw.Connection, register_size: int = LEAST_REGISTERED, flags: ContentFlags | None = None
    ) -> None:
        """`register_size`: how many of the newest messages the register must list."""
        self._connection = connection
        self._register_size = register_size
        self._flags = ContentFlags() if flags is None else flags
        self._register: Register | None = None
        """Read when it is first needed, and each time only as far as needed."""

    def page(self, selection: Selection, after: int, limit: int, before: int | None) -> Search[Page]:
        """Finds what `Log.read` returns for `selection`, `after`, `limit` and `before`."""
        chosen = self._choose(selection, after, before)
        page = self._page(chosen, after, after, max(limit, 1))
        deleted: list[Loss] = []
        while not page.messages and page.has_more:  # all messages found were deleted, or of other rooms
            yield None
            # The next page finds those after `position` again.
            deleted += [loss for loss in page.losses if loss.number and loss.last <= page.position]
            page = self._page(chosen, page.position, after, max(limit, 1))
        losses = _with_deleted(deleted, page.losses) if deleted else page.losses
        oldest = self._oldest(chosen) if losses else 0
        yield Page(page.messages, page.position, losses, oldest, page.deletions)

    def _choose(self, selection: Selection, after: int, before: int | None) -> ChosenRooms:
        """Finds the rooms of a selection that have had messages after a position."""
        rooms, prefixes = selection
        if not prefixes and len(rooms) <= max_arms():
            return ChosenRooms(selection, rooms, before)
        parameters = spans(prefixes) | {"after": after, "limit": max_arms() + 1}
        newest, text = self._row(find_rooms_statement(span_count(prefixes)), parameters)
        found = rooms.union(_room_names.decode(text))
        # A room that is created meanwhile may be missing, so read no further than the newest message now.
        end = newest + 1 if before is None else min(before, newest + 1)
        return ChosenRooms(selection, found if len(found) <= max_arms() else None, end)

    def _page(self, chosen: ChosenRooms, after: int, start: int, limit: int) -> _PageRead:
        """Reads the messages after the seq `after`, and the losses after `start`, at which the search began."""
        before, last = chosen.before, NO_END if chosen.before is None else chosen.before - 1
        if chosen.rooms is None:
            before = min(last, after + WALK_MESSAGES) + 1
        parameters = {"after": after, "before": NO_END if before is None else before, "limit": limit}
        newest, forgotten, forgotten_at, trimmed, deletions, deleted, heads, bodies = self._row(
            chosen.page_statement(self._flags.purging),
            parameters | chosen.parameters() | {"max_bytes": PAGE_BYTES, "start": start},
        )
        messages = unpack(heads, bodies)
        full = len(messages) >= limit or len(bodies or b"") >= PAGE_BYTES
        end = newest if before is None else min(newest, max(after, before - 1))
        known = _rooms.decode(trimmed)
        ends = {} if full else {room: seq for room, *_, seq in known if seq <= end}
        check_rooms_complete(messages, {room: seq for room, seq, *_ in known}, ends, after)
        unknown = watermark(forgotten, forgotten_at)
        losses = losses_between(chosen.selection, _by_room(known), unknown, start, chosen.before, self._between)
        position = messages[-1].seq if full and messages else end
        if gone := _deleted.decode(deleted):
            losses += [Loss(room, seq, 1, 0, number) for room, seq, number in gone]
            losses.sort(key=in_order)
            seqs = {seq for _, seq, _ in gone}
            messages = [message for message in messages if message.seq not in seqs]
        return _PageRead(messages, position, losses, deletions, full or end < min(newest, last))

    def _between(self, room: str, after: int, last: int) -> int:
        """An upper bound for how many messages with after < seq <= last a room had. `last` is gone, so it was
        registered."""
        register = self._register
        if register is None:
            [since] = self._row(QUERIES["begin_register"])
            register = self._register = Register(int(since), self._register_size)
        while register.reach < last:
            parameters = {"after": register.reach, "limit": _REGISTER_ROWS}
            rows = list(self._connection.execute(QUERIES["load_register"], parameters))
            for first, reach, rooms in rows:
                if first > register.reach + 1:  # rows in between were dropped since the last read
                    register.begin(first - 1)
                for name, seqs in _registered.decode(rooms).items():
                    register.note(name, seqs)
                register.reached(reach)
            if not rows:
                break
        return register.between(room, after, last)

    def _oldest(self, chosen: ChosenRooms) -> int:
        newest, oldest = self._row(QUERIES["oldest"].format(chosen=chosen.condition()), chosen.parameters())
        return int(newest + 1 if oldest is None else oldest)

    def fetch(self, after: int) -> Sequence[Message]:
        """The first messages of the whole log after the seq `after`, until they are `FETCH_MESSAGES` or
        `FETCH_BYTES`. Raises `apsw.CorruptError` if some are missing; not while deleted messages have rows."""
        parameters = {"after": after, "before": NO_END, "limit": FETCH_MESSAGES, "max_bytes": FETCH_BYTES}
        state = self._state()
        if self._flags.any_deleted:
            return unpack(*self._row(page_without_deleted(), parameters))
        messages = unpack(*self._row(QUERIES["page_of_all"], parameters))
        self._check(messages, after, state)
        return messages

    def _check(self, messages: Sequence[Message], after: int, state: LogState) -> None:
        """Raises `apsw.CorruptError` if messages after the seq `after` are missing."""
        if not messages and state.dense and max(after, self._state().trimmed) < state.newest:
            raise apsw.CorruptError(f"messages after {after} are missing")
        seqs = {message.seq for message in messages}
        if open_ended := {m.room for m in messages if m.prev > after and m.prev not in seqs}:
            [found] = self._row(QUERIES["trimmed"], {"rooms": to_json(sorted(open_ended))})
            check_complete(messages, {room: seq for room, seq, *_ in _rooms.decode(found)}, after)

    def get(self, seq: int) -> Message | None:
        """The message `seq`; None if it is not retained or not stored yet. Raises `CorruptError` if a log without
        holes and deletes lacks it."""
        parameters = {"after": seq - 1, "before": seq + 1, "limit": 1, "max_bytes": NO_END}
        before = self._state()
        found = unpack(
            *self._row(page_without_deleted() if self._flags.any_deleted else QUERIES["page_of_all"], parameters)
        )
        if not found and not self._flags.any_deleted and seq <= before.newest:
            after = self._state()
            if before.dense and after.dense and after.trimmed < seq:
                raise apsw.CorruptError(f"message {seq} is missing")
        return found[0] if found else None

    def seek_newest(self, selection: Selection, count: int, before: int | None) -> Search[int]:
        """Finds what `Log.seek_newest` returns for `selection`, `count` and `before`."""
        chosen = self._choose(selection, 0, before)
        position, end, remaining = None, NO_END if chosen.before is None else chosen.before, count
        while True:
            # A statement for many rooms looks at the messages of all rooms, so only at `WALK_MESSAGES` of them.
            after = 0 if chosen.rooms is not None else max(0, end - 1 - WALK_MESSAGES)
            parameters = {"after": after, "before": end, "limit": min(remaining, WALK_MESSAGES)}
            statement = chosen.seek_statement(self._flags.deleted, self._flags.purging)
            newest, trimmed, number, oldest = self._row(statement, parameters | chosen.parameters())
            if number:
                position = oldest - 1
            elif position is None:
                position = max(0, min(newest, end - 1))
            remaining -= number
            end = oldest if number == parameters["limit"] else after + 1
            if not remaining or end <= trimmed + 1:
                break
            yield None
        yield position

    def seek_time(self, selection: Selection, since: int) -> int:
        """The answer of `Log.seek_time` for `selection` and `since` (ms since 1970), by one binary search."""
        size = span_count(selection.prefixes)
        position, forgotten, forgotten_at, trimmed = self._row(
            seek_time_statement(size),
            {"since": since, "rooms": to_json(sorted(selection.rooms))} | spans(selection.prefixes),
        )
        known = _by_room(_rooms.decode(trimmed))
        return max(int(position), position_before(selection, known, watermark(forgotten, forgotten_at), since))

    def bounds(self) -> Bounds:
        """How far the log reaches, in one read: its parts are from the same commit."""
        return Bounds(*self._row(QUERIES["load_bounds"]))

    def rooms_by_name(self, prefix: str, after: str | None, limit: int, oldest: bool) -> Sequence[RoomStats]:
        """The first `limit` rooms that have messages, whose names begin with `prefix` and come after the name
        `after`. `oldest`: whether to add when each room's oldest message was stored, which costs a search for each
        room."""
        # No name contains a control character, so no name lies between `after` and this string.
        first = prefix if after is None else max(prefix, f"{after}\0")
        name = "rooms_by_name_with_oldest" if oldest else "rooms_by_name"
        [rooms] = self._row(QUERIES[name], {"first": first, "end": end_of(prefix), "limit": limit})
        return _stats(rooms)

    def rooms_by_newest(
        self, prefix: str, before: int, limit: int, oldest: bool
    ) -> tuple[Sequence[RoomStats], int]:
        """At most `limit` rooms with the `prefix` whose newest message is older than the seq `before`, the newest
        first; perhaps none, as it looks at `WALK_ROOMS` only. Also returns the seq before which to continue if
        these are fewer than `limit`; 0 if there are no more. `oldest`: as in `rooms_by_name`."""
        parameters = {"before": before, "limit": limit, "among": WALK_ROOMS if prefix else limit}
        name = "rooms_by_newest_with_oldest" if oldest else "rooms_by_newest"
        reached, rooms = self._row(QUERIES[name], parameters | {"first": prefix, "end": end_of(prefix)})
        return _stats(rooms), reached

    def close(self) -> None:
        """Closes the connection, in the thread that used it."""
        self._connection.close()

    def _state(self) -> LogState:
        return LogState(*self._row(QUERIES["load_state"]))

    def _row(self, statement: str, parameters: dict[str, Any] | None = None) -> Any:
        return one_row(self._connection, statement, parameters)


class _PageRead(NamedTuple):
    """A page as read by one statement."""

    messages: Sequence[Message]
    position: int
    losses: Sequence[Loss]
    deletions: int
    has_more: bool
    """Whether there may be more."""


def _stats(rooms: str) -> Sequence[RoomStats]:
    return [RoomStats(*room) for room in _stats_rows.decode(rooms)]


def _with_deleted(deleted: Sequence[Loss], losses: Sequence[Loss]) -> Sequence[Loss]:
    """The `losses` of a page, and those messages `deleted` before it that were not trimmed in the meantime: the
    runs in `losses` have the others."""
    trimmed = {loss.room: loss.last for loss in losses if not loss.number}
    retained = [loss for loss in deleted if loss.last > trimmed.get(loss.room, 0)]
    return sorted([*retained, *losses], key=in_order)


def _by_room(known: Sequence[_Row]) -> dict[str, Trimming]:
    return {room: Trimming(*fields) for room, *fields, _ in known}
