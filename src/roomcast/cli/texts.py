"""Lines of text as messages. The output of a build may have bytes that are not UTF-8 and lines of any length.
Neither may stop the reading: the program that writes into the pipe would get a SIGPIPE."""

from __future__ import annotations

import re
from collections.abc import Mapping

from roomcast.cli.batches import Line
from roomcast.cli.lines import InputLine
from roomcast.client.request import encoded

LIMIT = 64_000
"""Bytes of a stored message that a server takes by default."""
_MIN_BYTES = 500
"""Messages are not cut to fewer bytes than this: the room, the user and the mark alone may take as many."""
_ESCAPED = re.compile("[\x85\u2028\u2029]")
"""Characters that the server stores as an escape of six bytes."""


class Texts:
    """Makes messages from lines, and counts the lines that were changed."""

    def __init__(self, common: Mapping[str, str]) -> None:
        self._common = common
        """Fields of all messages."""
        self._stored = {"user": "anonymous", **common}
        """The same with the usual default of the user, which the server adds and stores. It is counted and never
        sent: a server refuses it with a credential that publishes as another user."""
        self._limit = LIMIT
        self.replaced = 0
        """Lines that were not UTF-8."""
        self.cut = 0
        """Lines that were too long."""

    def line(self, number: int, read: InputLine) -> Line:
        """Makes a message from the line `read`, which is line `number` of the input. Counts it if it was cut or
        was not UTF-8."""
        text = read.content.decode(errors="replace")
        self.replaced += "\ufffd" in text and not _is_utf8(read.content)
        line = Line.of(number, {**self._common, "text": text}, read)
        return self._fitting(line) if self._weight(text) > self._limit else line

    def shorten(self, batch: list[Line], place: int) -> bool:
        """For a server with a lower limit: cuts every line of `batch` to half the size of the one at `place`, and
        all later lines as well. Returns False if that is too short for any text."""
        if batch[place].size // 2 < _MIN_BYTES:
            return False
        self._limit = batch[place].size // 2
        batch[:] = [self._fitting(line) if line.size > self._limit else line for line in batch]
        return True

    def summary(self) -> str:
        """A sentence on the changed lines; empty if there were none."""
        parts = []
        if self.replaced:
            parts.append(f"{_lines(self.replaced)} not UTF-8: unreadable bytes are stored as \ufffd")
        if self.cut:
            parts.append(f"{_lines(self.cut)} too long, and cut")
        return "; ".join(parts)

    def _fitting(self, line: Line) -> Line:
        assert line.read
        text = line.read.content.decode(errors="replace")
        mark = f" … [cut: the line has {line.read.size:,} bytes]"
        if not line.message["text"].endswith(mark):
            self.cut += 1
        text = text[: self._limit]
        # A character takes 6 bytes at most, so this never cuts too much.
        while text and (over := self._weight(text + mark) - self._limit) > 0:
            text = text[: -max(1, over // 6)]
        return Line.of(line.number, {**line.message, "text": text + mark}, line.read)

    def _weight(self, text: str) -> int:
        """Bytes of the message that the server stores."""
        return len(encoded({**self._stored, "text": _ESCAPED.sub("123456", text)}))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(count: int) -> str:
    return f"{count:,} line{' was' if count == 1 else 's were'}"
