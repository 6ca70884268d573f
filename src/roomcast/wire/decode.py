"""Event streams (WHATWG HTML, section 9.2.6) from bytes to events. No asyncio, no sockets.

Laws:
- How the bytes are split over the calls of `feed` changes nothing in what comes out, and nothing waits for bytes
  that it does not need: a CR at the end of a piece ends its line at once.
- A line ends at CRLF, LF or CR, and at nothing else.
- What was received of a block that has not ended is bounded, and discarded with the decoder.

`BytesIO.readlines` finds lines with memchr, six times as fast as `split` on CPython 3.11. Where many blocks have
the same fields, as in a replay, they are read column by column, and Python sees no single line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple, cast

from roomcast.errors import RoomcastError

MAX_BLOCK = 8 * 1024 * 1024
"""Bytes: far above what anybody sends (roomcast 64 KiB), far below what fills a machine."""

_BOM = b"\xef\xbb\xbf"
_DIGITS = re.compile(rb"[0-9]+")
_MAX_RETRY = 10**12
"""Thirty years in ms. A server that says more means the same, and `int` refuses endless digits."""
_MANY = 24
"""Lines from which on it pays to look whether they are columns."""
_FIELDS = ((b"data: ", b"data:!"), (b"id: ", b"id:!"), (b"event: ", b"event:!"))
_WIDEST = len(_FIELDS) + 1
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
        self._rest = bytearray()
        """The beginning of a line."""
        self._after_cr = False
        """The last piece ended with a CR: an LF now belongs to it."""
        self._started = False
        """Whether it is known if there is a byte-order mark."""
        self._id = last_event_id
        """Of the block that is being read."""
        self._type = b""
        self._data: list[bytes] = []
        self._held = 0
        """Bytes in `_data`."""

    def feed(self, data: bytes) -> Sequence[Item]:
        """What these bytes complete, in order. Raises `Endless`, after which the decoder is of no use."""
        if not self._started:
            data = self._without_bom(data)
        if self._after_cr or _CR in data:
            data = self._with_line_feeds(data)
        if _LF not in data:
            self._rest += data
            self._check(len(self._rest))
            return ()
        lines = BytesIO(data).readlines()
        if self._rest:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
            self._check(len(lines[0]))
        if lines[-1][-1] != _LF:
            self._rest += lines.pop()
            self._check(len(self._rest))
        items: list[Item] = []
        if len(lines) >= _MANY and len(data) <= self._max_block:
            lines = self._columns(lines, items)
        self._lines(lines, items)
        return items

    def _without_bom(self, data: bytes) -> bytes:
        start = bytes(self._rest) + data
        self._rest.clear()
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._rest += start
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

    def _columns(self, lines: list[bytes], items: list[Item]) -> list[bytes]:
        """Reads what is whole blocks of the same fields in the same order, and gives back the lines after them."""
        try:
            start = lines.index(b"\n") + 1  # what is there of a block
            stop = lines.index(b"\n", start) + 1
        except ValueError:
            return lines
        width = stop - start
        blocks = (len(lines) - start) // width
        end = start + blocks * width
        if width > _WIDEST or lines[stop - 1 : end : width].count(b"\n") != blocks:
            return lines
        self._lines(lines[:start], items)
        fields = {}
        for n in range(start, stop - 1):
            column = lines[n:end:width]
            low, high = min(column), max(column)
            # Between the two lies everything that starts so, and nothing else: `!` comes after the space.
            for field, beyond in _FIELDS:
                if field <= low and high < beyond and field not in fields:
                    fields[field] = column
        if len(fields) != width - 1 or not self._dispatch(fields, items):
            return lines[start:]
        return lines[end:]

    def _dispatch(self, fields: dict[bytes, list[bytes]], items: list[Item]) -> bool:
        """Makes events of columns of fields; False where they hold something special."""
        if b"data: " not in fields:
            return False
        types: Iterable[str] = repeat("message")
        ids: Iterable[str] = repeat(self._id)
        if b"event: " in fields and "" in (types := _values(fields, b"event: ")):
            return False
        if b"id: " in fields:
            ids = _values(fields, b"id: ")
            if "\0" in "".join(ids):
                return False
        try:
            texts = list(map(bytes.decode, map(_after_data, fields[b"data: "])))
        except UnicodeDecodeError:
            return False
        items += map(_new, repeat(Event), zip(types, texts, ids, strict=False))
        self._id = self.last_event_id = cast(Event, items[-1]).id
        return True


_after_data = itemgetter(slice(len(b"data: "), -1))


def _values(fields: dict[bytes, list[bytes]], field: bytes) -> list[str]:
    """The values of a field, decoded at once."""
    return _text(b"".join(fields[field])[len(field) : -1]).split("\n" + field.decode())


def _text(data: bytes) -> str:
    """Python replaces what is not UTF-8 just as the standard does, and no line end is ever part of it."""
    return data.decode("utf-8", "replace")


def _ms(digits: bytes) -> int:
    return min(int(digits.lstrip(b"0")[:20] or b"0"), _MAX_RETRY)
