"""The items of an event stream, and fast ways to read them from whole blocks of lines.

`BytesIO.readlines` finds lines with memchr, six times as fast as `split` on CPython 3.11. Blocks of the same
fields, as in a replay, are read column by column, so that no Python code runs for a single line. Two more
functions read roomcast's messages: one alone, as it comes live, and a few at once. Each function returns nothing
for input that it is not made for; the decoder then reads line by line.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

MANY = 24
"""Reading by columns is faster from this many lines on."""
_WIDEST = 4
"""Lines of a block with an id, a type, one line of data, and the blank line."""
_LF = 10
"""As a number: `in` is an order of magnitude faster with it than with bytes of length one."""
_new = tuple.__new__


class Event(NamedTuple):
    """A dispatched event. A tuple, because hundreds of thousands are made in a second."""

    type: str
    """`message` if the stream names none."""
    data: str
    id: str
    """The last event id at this event: its own, or that of an earlier one; empty before the first."""


class Comment(NamedTuple):
    """A line that starts with a colon, without the colon. Servers send them as heartbeats."""

    text: str


class Retry(NamedTuple):
    """The delay before the next connection that the server asks for, in ms."""

    ms: int


Item = Event | Comment | Retry
Read = tuple[Sequence[Event], list[bytes]]
"""The events that were read, and the lines after them."""


def single(data: bytes) -> Event | None:
    """The event in `data`, if that is one block of an id and one line of data; None for anything else."""
    id, _, text = data[4:-2].partition(b"\ndata: ")
    if data[:4] != b"id: " or not text or _LF in text or _LF in id or 0 in id:
        return None
    try:
        return _new(Event, ("message", text.decode(), id.decode()))
    except UnicodeDecodeError:
        return None


def few(lines: list[bytes]) -> Read:
    """Reads the blocks in `lines` if each is an id, one line of data and a blank line. Otherwise returns no event
    and all lines."""
    count = len(lines) // 3
    end = 3 * count
    try:
        if count == 1:  # frequent when a stream comes in pieces of about a message
            head, text, blank, *rest = lines
            if blank == b"\n" and text[:6] == b"data: " and head[:4] == b"id: " and 0 not in head:
                return [_new(Event, ("message", text[6:-1].decode(), head[4:-1].decode()))], rest
            return (), lines
        if lines[2:end:3].count(b"\n") != count:
            return (), lines
        ids = _values(lines[:end:3], "id: ")
        events = []
        for text, id in zip(lines[1:end:3], ids, strict=False):
            if text[:6] != b"data: ":
                return (), lines
            events.append(_new(Event, ("message", text[6:-1].decode(), id)))
    except ValueError:
        return (), lines
    return events, lines[end:]


def columns(lines: list[bytes], last_id: str) -> Read:
    """Reads the blocks in `lines` if all have the same fields in the same order; `last_id` is the id of events
    without one. Otherwise returns no event and all lines."""
    if b"\n" not in lines:
        return (), lines
    width = lines.index(b"\n") + 1
    count = len(lines) // width
    end = count * width
    if width > _WIDEST or lines[width - 1 : end : width].count(b"\n") != count:
        return (), lines
    texts: list[str] = []
    ids: list[str] = []
    types: list[str] = []
    try:
        for n in range(width - 1):
            column = lines[n:end:width]
            field = column[0].partition(b" ")[0]
            if field == b"data:" and not texts:
                if [line[:6] for line in column].count(b"data: ") != count:
                    return (), lines
                texts = [line[6:-1].decode() for line in column]
            elif field == b"id:" and not ids:
                ids = _values(column, "id: ")
            elif field == b"event:" and not types:
                types = _values(column, "event: ")
                if "" in types:
                    return (), lines
            else:
                return (), lines
    except ValueError:
        return (), lines
    if not texts:
        return (), lines
    fields = zip(types or repeat("message"), texts, ids or repeat(last_id), strict=False)
    return [*map(_new, repeat(Event), fields)], lines[end:]


def _values(lines: list[bytes], field: str) -> list[str]:
    """The values of lines of this field, decoded at once. Raises `ValueError` if a line has another field, has a
    NUL, or is not UTF-8."""
    text = b"".join(lines).decode()
    values = text[len(field) : -1].split("\n" + field)
    if len(values) != len(lines) or "\0" in text or not text.startswith(field):
        raise ValueError(text)
    return values
