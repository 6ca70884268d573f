"""Builds the statements of the reader, and their parameters.

A statement about a few rooms has one arm for each room. One about many rooms walks the log, and compares the room
of each message. There are statements for a few numbers of arms only, so SQLite compiles each of them once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, NamedTuple

from roomcast.log.room_list import prefix_end
from roomcast.log.sqlite.queries import QUERIES, to_json
from roomcast.model.rooms import Selection

ARMS = (1, 4, 16, 64, 256)
"""The numbers of rooms for which there are statements."""
_NAMED = "room IN (SELECT value FROM json_each(:rooms))"


class ChosenRooms(NamedTuple):
    """The rooms of a selection at some moment, and the statements that read them."""

    selection: Selection
    rooms: frozenset[str] | None
    """The rooms followed by name, and those followed by prefix that have messages after a position. None if
    they are too many for a statement with an arm for each; the log is then walked, and the room of each message
    compared."""
    before: int | None
    """The seq before which a page ends."""

    def parameters(self) -> dict[str, Any]:
        """The parameters that name these rooms, in both statements and in the condition."""
        if self.rooms is not None:
            return _room_parameters(self.rooms)
        return {"rooms": to_json(sorted(self.selection.rooms))} | spans(self.selection.prefixes)

    def condition(self) -> str:
        """The condition that a row's room is one of these."""
        return _NAMED if self.rooms is not None else _chosen(span_count(self.selection.prefixes))

    def page_statement(self, purging: bool) -> str:
        """Reads a page of these rooms. `purging`: whether deleted rooms may have rows left, to be left out."""
        if self.rooms is not None:
            return _page_of_rooms(_arm_count(self.rooms), purging)
        return _page_of_many(span_count(self.selection.prefixes), purging)

    def seek_statement(self, deleted: bool, purging: bool) -> str:
        """Finds the newest messages of these rooms. `deleted`: whether there may be single deleted messages, to be
        left out. `purging`: the same for rows that deleted rooms have left."""
        if self.rooms is not None:
            return _seek_newest(_arm_count(self.rooms), deleted, purging)
        return _seek_newest_of_many(span_count(self.selection.prefixes), deleted, purging)


@cache
def _page_of_rooms(size: int, purging: bool) -> str:
    arm_condition, condition = (QUERIES["not_purged"], QUERIES["none_purged"]) if purging else ("", "")
    picked = QUERIES["pick_rooms"].format(arms=_arms(size, arm_condition))
    return _read_page(picked, f"{_NAMED} {condition}", QUERIES["trimmed"], _NAMED)


@cache
def _page_of_many(spans: int, purging: bool) -> str:
    condition = QUERIES["none_purged"] if purging else ""
    # The plus keeps SQLite from using the index of rooms: it would have to sort those messages.
    chosen = f"{_chosen(spans, '+room')} {condition}"
    picked = QUERIES["pick_range"].replace("ORDER", f"AND {chosen} ORDER")
    return _read_page(picked, chosen, _trimmed_of_many(spans, "trimmed > :start"), _chosen(spans))


def _read_page(picked: str, chosen: str, trimmed: str, of_rooms: str) -> str:
    page = QUERIES["page"].format(picked=picked, chosen=chosen)
    deleted = QUERIES["deleted"].format(chosen=of_rooms)
    return QUERIES["read_page"].format(trimmed=trimmed, deleted=deleted, page=page)


@cache
def find_rooms_statement(spans: int) -> str:
    """The rooms in some spans of names."""
    return QUERIES["find_rooms"].format(chosen=_in_spans(spans))


@cache
def seek_time_statement(spans: int) -> str:
    """Seeks a time. The trimmings are those of rooms followed by name, and of rooms in some spans of names."""
    trimmed = _trimmed_of_many(spans, "trimmed_at < :since") if spans else QUERIES["trimmed"]
    return QUERIES["seek_time"].format(trimmed=trimmed)


def _trimmed_of_many(spans: int, which: str) -> str:
    return QUERIES["trimmed"].replace(_NAMED, f"({_NAMED} OR ({which} AND {_in_spans(spans)}))")


def _chosen(spans: int, room: str = "room") -> str:
    return f"({_in_spans(spans, room)} OR {_NAMED.replace('room', room, 1)})"


def _in_spans(spans: int, room: str = "room") -> str:
    within = [f"({room} >= :first{n} AND {room} < :end{n})" for n in range(spans)]
    return f"({' OR '.join(within)})" if within else "false"


@cache
def page_without_deleted() -> str:
    """A page of the whole log without deleted messages."""
    condition = f"{QUERIES['none_purged']} {QUERIES['not_deleted']}"
    return QUERIES["page"].format(
        picked=QUERIES["pick_range"].replace("ORDER", f"{condition} ORDER"), chosen=f"true {condition}"
    )


@cache
def _seek_newest(size: int, deleted: bool, purging: bool) -> str:
    conditions = [QUERIES["not_deleted"]] * deleted + [QUERIES["not_purged"]] * purging
    return QUERIES["seek_newest"].format(arms=_arms(size, " ".join(conditions)))


@cache
def _seek_newest_of_many(spans: int, deleted: bool, purging: bool) -> str:
    conditions = [QUERIES["not_deleted"]] * deleted + [QUERIES["none_purged"]] * purging
    chosen = " ".join([f"AND {_chosen(spans, '+room')}", *conditions])
    return QUERIES["seek_newest"].format(arms=QUERIES["pick_range"].replace("ORDER BY seq LIMIT :limit", chosen))


def max_arms() -> int:
    """The most rooms that a statement has an arm for."""
    return ARMS[-1]


def _arms(size: int, condition: str = "") -> str:
    arm = QUERIES["pick_room"].format(room="{room}", condition=condition)
    return " UNION ALL ".join(arm.format(room=f"room{index}") for index in range(size))


def _arm_count(rooms: Collection[str]) -> int:
    return next(size for size in ARMS if size >= len(rooms))


def _room_parameters(rooms: Collection[str]) -> dict[str, Any]:
    """The parameters for rooms: one for each arm. An unused arm gets NULL, which equals no room."""
    names: dict[str, Any] = dict.fromkeys((f"room{index}" for index in range(_arm_count(rooms))), None)
    names.update((f"room{index}", room) for index, room in enumerate(rooms))
    return names | {"rooms": to_json(sorted(rooms))}


def span_count(prefixes: Sequence[str]) -> int:
    """How many spans of names a statement compares; 0 without prefixes."""
    return _arm_count(prefixes) if prefixes else 0


def spans(prefixes: Sequence[str]) -> dict[str, Any]:
    """The parameters for prefixes: for each one, where the names with it begin and end. An unused span gets NULL,
    with which all comparisons fail."""
    spans: dict[str, Any] = {f"{side}{n}": None for n in range(span_count(prefixes)) for side in ("first", "end")}
    for n, prefix in enumerate(prefixes):
        spans |= {f"first{n}": prefix, f"end{n}": end_of(prefix)}
    return spans


def end_of(prefix: str) -> str | bytes:
    """The end of the names with a prefix. The empty blob stands for no end: every text is less than a blob."""
    end = prefix_end(prefix)
    return b"" if end is None else end
