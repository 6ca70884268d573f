"""Parses one request with h11, within the bounds that h11 leaves open.

h11 reads a head in one go, however large it is, and takes 5 us for each of its fields. So this parser passes a
request on to h11 in slices, and first counts the bytes and lines of the head.
"""

from __future__ import annotations

import re
from typing import Any

import h11

from roomcast.http import context as limits
from roomcast.http.head_fields import MAX_FIELDS, too_many_fields
from roomcast.model.errors import HeadTooLarge, NotHttp, RoomcastError, UnknownCoding
from roomcast.model.redact import redacted

_BODY_SLICE = 8 * 1024
"""Bytes of a body with a length that are given to h11 at once."""
_LINES_SLICE = 2 * 1024
"""Bytes given to h11 at once while it reads line by line: a head, or chunks and the trailer after them. It takes
2.5 ms for 500 short lines."""
_LONGEST_LINE = 1_000
"""Bytes of an invalid first line that are logged."""
_BLANK_LINE = re.compile(rb"\n\r?\n")
"""The end of a head, for h11."""


class RequestParser:
    """The parser of one request."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.HEAD_BYTES)
        self.received = 0
        """Bytes received until the head was complete."""
        self.beginning = b""
        """The first bytes of the head."""
        self._lines = 0
        """Lines of the head."""
        self._last = b""
        """The last two bytes received: the blank line that ends the head may be split between two slices."""
        self._has_head = False
        self.reads_lines = True
        """Whether h11 reads the next bytes line by line."""
        self.ended = False
        """Whether the client will send no more."""

    @property
    def slice(self) -> int:
        """Maximum bytes to give to `receive` at once."""
        return _LINES_SLICE if self.reads_lines else _BODY_SLICE

    @property
    def unread(self) -> bytes:
        """Received bytes that are not used yet. After the end of the request they belong to the next one."""
        return self._h11.trailing_data[0]

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for `100 Continue`."""
        return self._h11.they_are_waiting_for_100_continue

    def receive(self, data: bytes) -> None:
        """Takes `data`, received bytes, at most a slice; no bytes if the client has ended its side. Raises
        `h11.RemoteProtocolError` if the head is too large, and its subclass `TooManyFields` if the head or a
        trailer has too many lines."""
        if not data:
            self.ended = True
        if not self._has_head:
            self._count_head(data)
        elif self.reads_lines and self.unread.count(b"\n") > MAX_FIELDS:
            raise TooManyFields  # these lines are a trailer: h11 leaves no whole chunk unread
        self._h11.receive_data(data)

    def next_event(self) -> Any:
        """h11's next event. Raises `h11.RemoteProtocolError`, also for a trailer that is too large."""
        event = self._h11.next_event()
        if isinstance(event, h11.Request):
            self._has_head = True
            self.reads_lines = any(name == b"transfer-encoding" for name, _ in event.headers)
        return event

    def first_line(self) -> bytes:
        """The first line of the head, as far as it was received."""
        return self.beginning.partition(b"\r\n")[0]

    def _count_head(self, data: bytes) -> None:
        if self.received >= limits.HEAD_BYTES:
            raise h11.RemoteProtocolError("the head is too large", error_status_hint=431)
        self.beginning += data[: _LONGEST_LINE - len(self.beginning)]
        self.received += len(data)
        seen = self._last + data
        end = _BLANK_LINE.search(seen)
        self._lines += seen.count(b"\n", len(self._last), end.end() if end else len(seen))
        self._last = seen[-2:]
        if self._lines > MAX_FIELDS + 2:  # with the request line and the blank one
            raise TooManyFields


class TooManyFields(h11.RemoteProtocolError):
    """A head or a trailer has more fields than are read."""

    def __init__(self) -> None:
        super().__init__("too many fields", error_status_hint=431)


def error_of(error: h11.RemoteProtocolError, line: bytes) -> RoomcastError:
    """The error that the client is told; `line` is the first line of its request."""
    if isinstance(error, TooManyFields):
        return too_many_fields()
    match error.error_status_hint:
        case 431:
            return HeadTooLarge(f"it is at most {limits.HEAD_BYTES // 1024} KiB")
        case 501:
            return UnknownCoding("send the body as it is or chunked, without another Transfer-Encoding")
    if not line.isascii():
        return NotHttp(
            "its first line has bytes that are not ASCII: percent-encode them, as in room=gr%C3%B6%C3%9Fe"
        )
    return NotHttp(redacted(str(error))[:200])  # h11's text quotes lines of the head
