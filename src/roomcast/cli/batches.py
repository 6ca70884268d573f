"""Many messages to a server: in batches as large as what is there, with a word about what became of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from roomcast.cli.lines import BadLine
from roomcast.cli.progress import Progress
from roomcast.client import Client
from roomcast.model.errors import Fault, Invalid, Malformed, RoomcastError, TooLarge

MAX_MESSAGES = 500
PATIENCE = 30.0
"""Seconds that a server may be away while much is published."""
MAX_BYTES = 512 * 1024
"""Half of what a server, and nginx before it, takes by default."""


class Stopped(RoomcastError):
    """Not all of the input is stored."""

    kind = "stopped"


class Line(NamedTuple):
    """A message from the input."""

    number: int
    """Counted from 1."""
    message: dict[str, Any]
    size: int
    """Bytes as JSON."""

    @classmethod
    def of(cls, number: int, message: dict[str, Any]) -> Line:
        """Raises `BadLine` where it is more than JSON can say."""
        try:
            encoded = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except (ValueError, RecursionError) as error:
            raise BadLine(f"line {number} is not what JSON can say: {error}") from None
        return cls(number, message, len(encoded) + 1)


def parsed(number: int, line: bytes) -> dict[str, Any]:
    """The JSON object that a line is. Raises `BadLine`."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"line {number} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadLine(f"line {number} is no JSON object")
    return found


def batches(lines: Iterable[Line | None]) -> Iterator[list[Line]]:
    """As many lines as may go at once; fewer where the next is not there yet (None). What comes before a bad line
    is a batch as well, and then the line's error is raised."""
    batch: list[Line] = []
    size = 0
    source = iter(lines)
    while True:
        try:
            line = next(source)
        except (StopIteration, BadLine) as end:
            if batch:
                yield batch
            if isinstance(end, BadLine):
                raise
            return
        if batch and (line is None or len(batch) == MAX_MESSAGES or size + line.size > MAX_BYTES):
            yield batch
            batch, size = [], 0
        if line is not None:
            batch.append(line)
            size += line.size


class Sender:
    """Publishes batches, and knows how far it came."""

    def __init__(
        self, client: Client, *, key: Callable[[list[Line]], str] | None = None, up_to_the_bad_line: bool = False
    ) -> None:
        self._client = client
        self._key = key
        """The batch's idempotency key; without it the client's own, which only its own retries repeat."""
        self._up_to_the_bad_line = up_to_the_bad_line
        """Whether of a refused batch the lines before the bad one are stored. Not where batches must be the same
        another time."""
        self.stored = 0

    def send(self, batch: list[Line]) -> None:
        """Raises what the server says, in words about lines, and about what is stored."""
        try:
            self._client.publish_batch(
                [line.message for line in batch], idempotency_key=self._key(batch) if self._key else None
            )
        except (Invalid, Malformed, TooLarge) as error:
            self._refused(batch, error)
        except RoomcastError as error:
            unknown = f"of the {len(batch)} from line {batch[0].number} on it is not known"
            raise Stopped(f"{error.detail}; {said(self.stored)}, {unknown}") from None
        else:
            self.stored += len(batch)

    def _refused(self, batch: list[Line], error: RoomcastError) -> None:
        places = [place for fault in error.faults if (place := _place(fault)) is not None]
        if places:
            bad, what = min(places, key=itemgetter(0))
            if bad and self._up_to_the_bad_line:
                self.send(batch[:bad])
            raise self.stopped(f"line {batch[bad].number} is refused: {what}")
        if isinstance(error, TooLarge) and len(batch) > 1:  # a server that takes less at once
            self.send(batch[: len(batch) // 2])
            self.send(batch[len(batch) // 2 :])
            return
        first, last = batch[0].number, batch[-1].number
        which = f"line {first} is" if first == last else f"lines {first} to {last} are"
        raise self.stopped(f"{which} refused: {error.detail}")

    def stopped(self, why: str) -> Stopped:
        """The error that says also what is stored."""
        return Stopped(f"{why}; {said(self.stored)}")

    def send_all(self, lines: Iterable[Line | None], progress: Progress) -> None:
        """Raises `Stopped`."""
        try:
            for batch in batches(lines):
                self.send(batch)
                progress.show(self.stored)
        except BadLine as error:
            raise self.stopped(error.detail) from None
        finally:
            progress.done()


def said(stored: int) -> str:
    """How much is stored, in words."""
    return f"{stored:,} message{' is' if stored == 1 else 's are'} stored"


def _place(fault: Fault) -> tuple[int, str] | None:
    """Which of a batch's messages is meant, and what is wrong with it."""
    _, _, rest = fault.pointer.partition("/")
    number, _, field = rest.partition("/")
    if not number.isdecimal():
        return None
    return int(number), f"{field} {fault.detail}" if field else fault.detail
