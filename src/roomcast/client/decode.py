"""Event streams (WHATWG HTML, section 9.2.6) from bytes to events. No asyncio, no sockets.

Laws:
- How the bytes are split over the calls of `feed` changes nothing in what comes out, and nothing waits for bytes
  that it does not need: a CR at the end of a piece ends its line at once.
- A line ends at CRLF, LF or CR, and at nothing else.
- What was received of a block that has not ended is bounded, and discarded with the decoder.

`BytesIO.readlines` finds lines with memchr, six times as fast as `split` on CPython 3.11. Where many blocks have
the same fields, as in a replay, they are read column by column, and Python sees no single line. Roomcast's
messages have two more ways: one alone, as it comes live, and a few at once. Each way gives up and changes nothing
where there is anything else; then lines are read one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import repeat
from typing import NamedTuple, cast

from roomcast.model.errors import RoomcastError

MAX_BLOCK = 8 * 1024 * 1024
"""Bytes: far above what anybody sends (roomcast 64 KiB), far below what fills a machine."""

_BOM = b"\xef\xbb\xbf"
_DIGITS = re.compile(rb"[0-9]+")
_MAX_RETRY = 10**12
"""Thirty years in ms. A server that says more means the same, and `int` refuses endless digits."""
_MANY = 24
"""Lines from which on it pays to read columns."""
_WIDEST = 4
"""Lines of a block with an id, a type and one line of data."""
_CR, _LF, _D, _I = b"\r\ndi"
"""As numbers: `in` is an order of magnitude faster with them than with bytes of length one."""
_new = tuple.__new__


class Endless(RoomcastError):
    """A line or a block of the event stream does not end."""

    kind = "endless"


class Event(NamedTuple):
    """A dispatched event. A tuple, because hundreds of thousands are made a second."""

    type: str
    """`message` where the stream names none."""
    data: str
    id: str
    """The last event id at this event: its own, or of one before; empty where there was none."""


class Comment(NamedTuple):
    """A line that starts with a colon, without it. Servers send them against silence."""

    text: str


class Retry(NamedTuple):
    """The server's word how long to wait before the next connection."""

    ms: int


Item = Event | Comment | Retry


class Decoder:
    """One stream, from its first byte on. `last_event_id` is what the stream before it ended with."""

    def __init__(self, last_event_id: str = "", max_block: int = MAX_BLOCK) -> None:
        self.last_event_id = last_event_id
        """As of the last block that ended, whether it had data or not: what to resume with."""
        self._max_block = max_block
        self._rest: bytes | bytearray = b""
        """The beginning of a line."""
        self._begun: list[bytes] = []
        """The line with the id of a block of which no more has come: alone it says nothing."""
        self._after_cr = False
        """The last piece ended with a CR: an LF now belongs to it."""
        self._started = False
        """Whether it is known if there is a byte-order mark."""
        self._unusual = True
        """Whether one of the two above asks for a look at what comes."""
        self._id = last_event_id
        """Of the block that is being read."""
        self._type = b""
        self._data: list[bytes] = []
        self._held = 0
        """Bytes in `_data`."""

    def feed(self, data: bytes) -> Sequence[Item]:
        """What these bytes complete, in order. Raises `Endless`, after which the decoder is of no use."""
        if self._unusual or _CR in data:
            data = self._usual(data)
        if len(self._rest) + len(data) > self._max_block:
            return self._large(data)
        if _LF not in data:
            if type(self._rest) is bytes:
                self._rest = bytearray(self._rest)  # grows in place: joined anew, a long line would take for ever
            self._rest += data
            return ()
        if not self._rest and data[-2:] == b"\n\n" and not (self._begun or self._data or self._type):
            event = _whole(data)
            if event:
                self._id = self.last_event_id = event[2]
                return [event]
        lines = BytesIO(data).readlines()
        if self._rest:
            lines[0] = b"".join((self._rest, lines[0]))
            self._rest = b""
        if lines[-1][-1] != _LF:
            self._rest = lines.pop()
        if self._begun:
            lines = self._begun + lines
            self._begun = []
        items: list[Item] = []
        if len(lines) > 2 and not self._data and not self._type:
            lines = (self._columns if len(lines) >= _MANY else self._blocks)(lines, items)
        if len(lines) == 1 and lines[0][:4] == b"id: ":
            self._begun = lines
        elif lines:
            self._lines(lines, items)
        return items

    def _large(self, data: bytes) -> Sequence[Item]:
        """`feed`, line by line, where the bound may be passed."""
        *lines, rest = (bytes(self._rest) + data).split(b"\n")
        self._check(max(map(len, (*lines, rest))))
        self._rest = rest
        lines = [*self._begun, *(line + b"\n" for line in lines)]
        self._begun = []
        items: list[Item] = []
        self._lines(lines, items)
        return items

    def _usual(self, data: bytes) -> bytes:
        """Without a byte-order mark, and with line feeds as the only ends of lines."""
        if not self._started:
            data = self._without_bom(data)
        if self._after_cr or _CR in data:
            data = self._with_line_feeds(data)
        self._unusual = not self._started or self._after_cr
        return data

    def _without_bom(self, data: bytes) -> bytes:
        start = bytes(self._rest) + data
        self._rest = b""
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._rest = start
            return b""
        self._started = True
        return start.removeprefix(_BOM)

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _check(self, size: int) -> None:
        if size > self._max_block:
            raise Endless(
                f"the event stream has a line or a block of more than {self._max_block} bytes; "
                "if that is meant, allow for it with max_block"
            )

    def _lines(self, lines: Iterable[bytes], items: list[Item]) -> None:
        data, type, id, held = self._data, self._type, self._id, self._held
        add, limit = items.append, self._max_block
        for line in lines:
            first = line[0]
            if first == _D and line[:6] == b"data: ":
                data.append(line[6:-1])
                held += len(line)
            elif first == _LF:
                if data:
                    if held > limit:
                        self._check(held)
                    whole = data[0] if len(data) == 1 else b"\n".join(data)
                    try:
                        text = whole.decode()
                    except UnicodeDecodeError:
                        text = _text(whole)
                    add(_new(Event, (_text(type) if type else "message", text, id)))
                    data.clear()
                    held = 0
                    type = b""
                elif type:
                    type = b""
                self.last_event_id = id
            elif first == _I and line[:4] == b"id: " and 0 not in line:
                id = line[4:-1].decode("utf-8", "replace")
            else:
                field, _, value = line[:-1].partition(b":")
                value = value.removeprefix(b" ")
                if not field:
                    add(Comment(_text(line[1:-1])))
                elif field == b"data":
                    data.append(value)
                    held += len(line)
                elif field == b"event":
                    type = value
                elif field == b"id" and 0 not in value:
                    id = _text(value)
                elif field == b"retry" and _DIGITS.fullmatch(value):
                    add(Retry(_ms(value)))
        self._type, self._id, self._held = type, id, held
        if held > limit:
            self._check(held)

    def _blocks(self, lines: list[bytes], items: list[Item]) -> list[bytes]:
        """Reads what is blocks of an id and one line of data, and gives back the lines after them."""
        count = len(lines) // 3
        end = 3 * count
        try:
            if count == 1:  # seen often, where a stream comes in pieces of about a message
                head, text, blank, *more = lines
                if blank == b"\n" and text[:6] == b"data: " and head[:4] == b"id: " and 0 not in head:
                    id = head[4:-1].decode()
                    items.append(_new(Event, ("message", text[6:-1].decode(), id)))
                    self._id = self.last_event_id = id
                    return more
                return lines
            if lines[2:end:3].count(b"\n") != count:
                return lines
            ids = _values(lines[:end:3], "id: ")
            events = []
            for text, id in zip(lines[1:end:3], ids, strict=False):
                if text[:6] != b"data: ":
                    return lines
                events.append(_new(Event, ("message", text[6:-1].decode(), id)))
        except ValueError:
            return lines
        items += events
        self._id = self.last_event_id = ids[-1]
        return lines[end:]

    def _columns(self, lines: list[bytes], items: list[Item]) -> list[bytes]:
        """Reads what is blocks of the same fields in the same order, and gives back the lines after them."""
        if b"\n" not in lines:
            return lines
        width = lines.index(b"\n") + 1
        count = len(lines) // width
        end = count * width
        if width > _WIDEST or lines[width - 1 : end : width].count(b"\n") != count:
            return lines
        texts: list[str] = []
        ids: list[str] = []
        types: list[str] = []
        try:
            for n in range(width - 1):
                column = lines[n:end:width]
                field = column[0].partition(b" ")[0]
                if field == b"data:" and not texts:
                    if [line[:6] for line in column].count(b"data: ") != count:
                        return lines
                    texts = [line[6:-1].decode() for line in column]
                elif field == b"id:" and not ids:
                    ids = _values(column, "id: ")
                elif field == b"event:" and not types:
                    types = _values(column, "event: ")
                    if "" in types:
                        return lines
                else:
                    return lines
        except ValueError:
            return lines
        if not texts:
            return lines
        events = zip(types or repeat("message"), texts, ids or repeat(self._id), strict=False)
        items += map(_new, repeat(Event), events)
        self._id = self.last_event_id = cast(Event, items[-1]).id
        return lines[end:]


def _whole(data: bytes) -> Event | None:
    """The event of one block of an id and one line of data, as it comes live; None where it is anything else."""
    id, _, text = data[4:-2].partition(b"\ndata: ")
    if data[:4] != b"id: " or not text or _LF in text or _LF in id or 0 in id:
        return None
    try:
        return _new(Event, ("message", text.decode(), id.decode()))
    except UnicodeDecodeError:
        return None


def _values(lines: list[bytes], field: str) -> list[str]:
    """What lines of this field say, decoded at once. Raises `ValueError` where one is of another field, has a NUL,
    or is not UTF-8."""
    text = b"".join(lines).decode()
    values = text[len(field) : -1].split("\n" + field)
    if len(values) != len(lines) or "\0" in text or not text.startswith(field):
        raise ValueError(text)
    return values


def _text(data: bytes) -> str:
    """Python replaces what is not UTF-8 just as the standard does, and no line end is ever part of it."""
    return data.decode("utf-8", "replace")


def _ms(digits: bytes) -> int:
    return min(int(digits.lstrip(b"0")[:20] or b"0"), _MAX_RETRY)
