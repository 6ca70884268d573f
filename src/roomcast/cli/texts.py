"""Lines of text as messages. A build's output has bytes that are no UTF-8, and lines of any length; neither is a
reason to stop reading: what writes the pipe would be ended with SIGPIPE."""

from __future__ import annotations

import re
from collections.abc import Mapping

from roomcast.cli.batches import Line
from roomcast.cli.lines import Read
from roomcast.client.request import encoded

LIMIT = 64_000
"""Bytes of a stored message that a server takes unless it is told otherwise."""
_LEAST = 500
"""Bytes below which nothing is cut: the room, the user and the mark alone may take as many."""
_ESCAPED = re.compile("[\x85\u2028\u2029]")
"""What the server stores as an escape of six bytes."""


class Texts:
    """Makes messages of lines, and counts those that were changed."""

    def __init__(self, common: Mapping[str, str]) -> None:
        self._common = {"user": "anonymous", **common}
        """Fields that all have. The user is stored, also where the server adds it."""
        self._limit = LIMIT
        self.replaced = 0
        """Lines that were not UTF-8."""
        self.cut = 0
        """Lines that were too long."""

    def line(self, number: int, read: Read) -> Line:
        """The message that a line is."""
        text = read.content.decode(errors="replace")
        self.replaced += "\ufffd" in text and not _is_utf8(read.content)
        line = Line.of(number, {**self._common, "text": text}, read)
        return self._fitting(line) if self._weight(text) > self._limit else line

    def shorten(self, batch: list[Line], place: int) -> bool:
        """For a server that takes less: no line has more than half of what the one at this place has. False where
        that is too short to say anything."""
        if batch[place].size // 2 < _LEAST:
            return False
        self._limit = batch[place].size // 2
        batch[:] = [self._fitting(line) if line.size > self._limit else line for line in batch]
        return True

    def said(self) -> str:
        """What was changed, in words; empty where nothing was."""
        parts = []
        if self.replaced:
            parts.append(f"{_lines(self.replaced)} not UTF-8: what could not be read is stored as \ufffd")
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
        """Bytes that the server stores."""
        return len(encoded({**self._common, "text": _ESCAPED.sub("123456", text)}))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(count: int) -> str:
    return f"{count:,} line{' was' if count == 1 else 's were'}"
