"""Lines of a file, a pipe or a terminal, as they come."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

from roomcast.model.errors import RoomcastError

MAX_LINE = 8 * 1024 * 1024
"""Bytes: far more than a message may have, so that an endless line does not fill the memory."""
_PIECE = 64 * 1024


class BadLine(RoomcastError):
    """A line of the input cannot be published."""

    kind = "bad-line"


def lines(descriptor: int) -> Iterator[bytes | None]:
    """Each line without its end, and None wherever the next one is not there yet. Raises `BadLine`."""
    rest = bytearray()
    number = 1
    while True:
        if not select.select([descriptor], [], [], 0)[0]:
            yield None
        data = os.read(descriptor, _PIECE)
        first, *more = data.split(b"\n")
        rest += first
        for line in more:
            yield bytes(rest)
            rest = bytearray(line)
        number += len(more)
        if len(rest) > MAX_LINE:
            raise BadLine(f"line {number} has more than {MAX_LINE:,} bytes")
        if not data:
            break
    if rest:
        yield bytes(rest)
