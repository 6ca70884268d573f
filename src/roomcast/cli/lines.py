"""Lines of a file, a pipe or a terminal, as soon as they come."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import NamedTuple

from roomcast.model.errors import RoomcastError

MAX_LINE = 8 * 1024 * 1024
"""Bytes of a line that are kept: far more than a message may have by default. An endless line must not fill the
memory."""
_PIECE = 64 * 1024


class BadLine(RoomcastError):
    """A line of the input cannot be published."""

    kind = "bad-line"


class InputLine(NamedTuple):
    """A line of the input, without its line feed."""

    content: bytes
    """Its first `MAX_LINE` bytes."""
    size: int
    """Bytes of the whole line."""


def lines(descriptor: int) -> Iterator[InputLine | None]:
    """Yields each line that `descriptor` gives, and None whenever the next one has not come yet. The last line
    needs no line feed. Blocks while it waits for input."""
    rest, size = bytearray(), 0
    while True:
        if not select.select([descriptor], [], [], 0)[0]:
            yield None
        data = os.read(descriptor, _PIECE)
        first, *more = data.split(b"\n")
        rest += first[: MAX_LINE - len(rest)]
        size += len(first)
        for line in more:
            yield InputLine(bytes(rest), size)
            rest, size = bytearray(line), len(line)
        if not data:
            break
    if rest:
        yield InputLine(bytes(rest), size)
