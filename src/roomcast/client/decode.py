"""Event streams (WHATWG HTML, section 9.2.6) from bytes to events. No asyncio, no sockets.

Laws:
- The result does not depend on how the bytes are split over the calls of `feed`, and no item waits for bytes that
  it does not need: a CR at the end of a piece ends its line at once.
- A line ends at CRLF, LF or CR, and at nothing else.
- The memory for an unfinished block is bounded; the block is discarded with the decoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from io import BytesIO

from roomcast.client.blocks import MANY, Comment, Event, Item, Retry, columns, few, single
from roomcast.model.errors import RoomcastError

__all__ = ["MAX_BLOCK", "Comment", "Decoder", "Endless", "Event", "Item", "Retry"]

MAX_BLOCK = 8 * 1024 * 1024
"""Bytes: far above any real event (roomcast's have 64 KiB at most by default), far below a machine's memory."""

_BOM = b"\xef\xbb\xbf"
_DIGITS = re.compile(rb"[0-9]+")
_MAX_RETRY = 10**12
"""Thirty years in ms. More means the same, and `int` rejects very many digits."""
_CR, _LF, _D, _I = b"\r\ndi"
"""As numbers: `in` is an order of magnitude faster with them than with bytes of length one."""
_new = tuple.__new__


class Endless(RoomcastError):
    """A line or a block of the event stream is longer than `max_block`."""

    kind = "endless"


class Decoder:
    """Decodes one stream, from its first byte on."""

    def __init__(self, last_event_id: str = "", max_block: int = MAX_BLOCK) -> None:
        """Starts a stream.

        Args:
            last_event_id: The last event id of the stream before this one.
            max_block: Bytes that a line or a block may have.
        """
        self.last_event_id: str = last_event_id
        """The id to resume with: that of the last complete block, with or without data."""
        self._max_block = max_block
        self._partial_line: bytes | bytearray = b""
        """The beginning of a line."""
        self._id_line: list[bytes] = []
        """The id line of a block of which nothing else has come; empty if there is none."""
        self._after_cr = False
        """Whether the last piece ended with a CR: an LF at the beginning of the next belongs to it."""
        self._started = False
        """Whether the byte-order mark, if there was one, has been removed."""
        self._unusual = True
        """Whether the next piece must be normalized because of one of the two attributes above."""
        self._id = last_event_id
        """The id of the block that is being read. The next three attributes belong to this block, too."""
        self._type = b""
        self._data: list[bytes] = []
        self._data_size = 0
        """Bytes of its lines, with their field names and line ends."""

    def feed(self, data: bytes) -> Sequence[Item]:
        """Decodes a piece of the stream.

        Args:
            data: Any number of bytes.

        Returns:
            The events, comments and retry delays that these bytes complete, in order.

        Raises:
            Endless: A line or a block is longer than `max_block`. The decoder cannot be used after that.
        """
        if self._unusual or _CR in data:
            data = self._normalized(data)
        if len(self._partial_line) + len(data) > self._max_block:
            return self._large(data)
        if _LF not in data:
            if type(self._partial_line) is bytes:
                self._partial_line = bytearray(
                    self._partial_line
                )  # grows in place: a long line is not copied for each piece
            self._partial_line += data
            return ()
        if not self._partial_line and data[-2:] == b"\n\n" and not (self._id_line or self._data or self._type):
            event = single(data)
            if event:
                self._id = self.last_event_id = event[2]
                return [event]
        lines = BytesIO(data).readlines()
        if self._partial_line:
            lines[0] = b"".join((self._partial_line, lines[0]))
            self._partial_line = b""
        if lines[-1][-1] != _LF:
            self._partial_line = lines.pop()
        if self._id_line:
            lines = self._id_line + lines
            self._id_line = []
        items: list[Item] = []
        if len(lines) > 2 and not self._data and not self._type:
            events, lines = columns(lines, self._id) if len(lines) >= MANY else few(lines)
            if events:
                items += events
                self._id = self.last_event_id = events[-1].id
        if len(lines) == 1 and lines[0][:4] == b"id: ":
            self._id_line = lines
        elif lines:
            self._lines(lines, items)
        return items

    def _large(self, data: bytes) -> Sequence[Item]:
        """`feed`, line by line, for data that may exceed the bound."""
        *lines, rest = (bytes(self._partial_line) + data).split(b"\n")
        self._check(max(map(len, (*lines, rest))))
        self._partial_line = rest
        lines = [*self._id_line, *(line + b"\n" for line in lines)]
        self._id_line = []
        items: list[Item] = []
        self._lines(lines, items)
        return items

    def _normalized(self, data: bytes) -> bytes:
        """The data without a byte-order mark, and with line feeds as the only line ends."""
        if not self._started:
            data = self._without_bom(data)
        if self._after_cr or _CR in data:
            data = self._with_line_feeds(data)
        self._unusual = not self._started or self._after_cr
        return data

    def _without_bom(self, data: bytes) -> bytes:
        start = bytes(self._partial_line) + data
        self._partial_line = b""
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._partial_line = start
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
                "raise max_block if such long ones are expected"
            )

    def _lines(self, lines: Iterable[bytes], items: list[Item]) -> None:
        data, type, id, size = self._data, self._type, self._id, self._data_size
        add, limit = items.append, self._max_block
        for line in lines:
            first = line[0]
            if first == _D and line[:6] == b"data: ":
                data.append(line[6:-1])
                size += len(line)
            elif first == _LF:
                if data:
                    if size > limit:
                        self._check(size)
                    whole = data[0] if len(data) == 1 else b"\n".join(data)
                    try:
                        text = whole.decode()
                    except UnicodeDecodeError:
                        text = _text(whole)
                    add(_new(Event, (_text(type) if type else "message", text, id)))
                    data.clear()
                    size = 0
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
                    size += len(line)
                elif field == b"event":
                    type = value
                elif field == b"id" and 0 not in value:
                    id = _text(value)
                elif field == b"retry" and _DIGITS.fullmatch(value):
                    add(Retry(_ms(value)))
        self._type, self._id, self._data_size = type, id, size
        if size > limit:
            self._check(size)


def _text(data: bytes) -> str:
    """Python replaces bytes that are not UTF-8 as the standard does; no line end is ever part of such a
    sequence."""
    return data.decode("utf-8", "replace")


def _ms(digits: bytes) -> int:
    return min(int(digits.lstrip(b"0")[:20] or b"0"), _MAX_RETRY)
