"""Loads the SQL of this folder, each query by its name, and converts the rows that PostgreSQL returns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from sys import maxunicode
from typing import Any, NamedTuple

from roomcast.log.room_list import prefix_end
from roomcast.log.trimming import Trimming
from roomcast.model.message import Message

Row = Mapping[str, Any]
"""A row of a result, by column."""

VERSION = 1
"""The schema's version."""
NO_END = 2**63 - 1
"""Larger than any seq or number of bytes."""
_AFTER_ALL_NAMES = chr(maxunicode) * 200
"""Sorts after every room's name."""


def _script(*names: str) -> str:
    """SQL files, concatenated."""
    return "\n".join(files(__package__).joinpath(name).read_text("utf-8") for name in names)


MIGRATIONS: Sequence[str] = (_script("schema.sql", "functions.sql"),)
"""Script n brings a database of version n to version n + 1."""


def _load() -> dict[str, str]:
    parts = re.split(r"^-- (\w+) --$", _script("queries.sql"), flags=re.M)
    return {name: _bare(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _bare(text: str) -> str:
    """A query without its comments and its semicolon."""
    lines = [line for line in text.strip().splitlines() if not line.startswith("--")]
    return "\n".join(lines).removesuffix(";")


def _filled(query: str, parts: Mapping[str, str]) -> str:
    """A query, with each `{name}` replaced by the query of that name."""
    while (filled := re.sub(r"\{(\w+)\}", lambda match: parts[match[1]], query)) != query:
        query = filled
    return query


_RAW = _load()
QUERIES = {
    **{name: _filled(text, _RAW) for name, text in _RAW.items() if name not in ("settings", "page")},
    "page": _filled(_RAW["page"], _RAW | {"picked": _RAW["pick_rooms"]}),
    "page_of_many": _filled(_RAW["page"], _RAW | {"picked": _RAW["pick_many"]}),
    **{
        name: _filled(_RAW[name], {"oldest_of_room": "0::bigint"}) for name in ("rooms_by_name", "rooms_by_newest")
    },
    **{f"{name}_with_oldest": _filled(_RAW[name], _RAW) for name in ("rooms_by_name", "rooms_by_newest")},
    "settings": _RAW["settings"].format(local=""),
    "settings_of_transaction": _RAW["settings"].format(local="LOCAL"),
}


class Totals(NamedTuple):
    """The log as a whole, as far as trimming needs it."""

    trimmed: int = 0
    """The seq up to which the whole log is trimmed."""
    messages: int = 0
    """How many messages the log retains."""
    bytes: int = 0
    """The sum of their bodies."""
    changes: int = 0
    """How often messages were removed that were not the oldest of the whole log."""


def totals_of(row: Row) -> Totals:
    """The totals in `row`, which has their names as columns."""
    return Totals(row["trimmed"], row["messages"], row["bytes"], row["changes"])


def messages_of(row: Row) -> list[Message]:
    """The messages in `row`, which has an array for each of their fields; see `arrays` in queries.sql."""
    if row["seqs"] is None:
        return []
    fields = zip(
        row["seqs"], row["rooms"], row["types"], row["stored_ats"], row["prevs"], row["bodies"], strict=True
    )
    return [Message(*message) for message in fields]


def trimmings_of(row: Row) -> dict[str, Trimming]:
    """How far each room is trimmed, from `row`, which has an array for each field; see `page` in queries.sql."""
    if row["lost_rooms"] is None:
        return {}
    states = zip(row["lost_ends"], row["lost_ats"], row["lost_counts"], row["lost_caps"], strict=True)
    return {room: Trimming(*state) for room, state in zip(row["lost_rooms"], states, strict=True)}


def spans(prefixes: Iterable[str]) -> tuple[list[str], list[str]]:
    """The ranges of names that begin with one of `prefixes`, as two lists: the first name of each range, and the
    first name after it."""
    firsts = list(prefixes)
    return firsts, [end_of(prefix) for prefix in firsts]


def end_of(prefix: str) -> str:
    """The first text after all names that begin with `prefix`."""
    return prefix_end(prefix) or _AFTER_ALL_NAMES
