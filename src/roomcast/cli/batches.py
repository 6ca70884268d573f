"""Many messages to a server: in batches as large as what is there, with a word about what became of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from roomcast.cli.lines import BadLine, Read
from roomcast.cli.progress import Progress
from roomcast.client import Client
from roomcast.client.request import encoded
from roomcast.model.errors import (
    Fault,
    Forbidden,
    Invalid,
    Malformed,
    RoomcastError,
    TooLarge,
    Unauthenticated,
)

MAX_MESSAGES = 500
PATIENCE = 30.0
"""Seconds that a server may be away while much is published."""
MAX_BYTES = 512 * 1024
"""Half of what a server, and nginx before it, takes by default."""


_NOTHING_STORED = (Forbidden, Invalid, Malformed, TooLarge, Unauthenticated)
"""A batch that is answered so is not stored, and no part of it."""


class Stopped(RoomcastError):
    """Not all of the input is stored."""

    kind = "stopped"

    def __init__(self, detail: str, bad: Collection[int] | None = None) -> None:
        super().__init__(detail)
        self.bad = bad
        """Numbers of the lines that are refused; None where the batch is lost as a whole."""


class Line(NamedTuple):
    """A message from the input."""

    number: int
    """Counted from 1."""
    message: dict[str, Any]
    size: int
    """Bytes as JSON."""
    read: Read | None = None
    """The line itself, where it is text, which may be cut."""

    @classmethod
    def of(cls, number: int, message: dict[str, Any], read: Read | None = None) -> Line:
        """Raises `BadLine` where it is more than JSON can say."""
        try:
            return cls(number, message, len(encoded(message)) + 1, read)
        except Invalid as error:
            raise BadLine(f"line {number}: {error.detail}") from None


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


Shorten = Callable[[list[Line], int], bool]
"""Makes a line of a batch shorter that is too large for the server, and all others that are; whether it could."""


class Sender:
    """Publishes batches, and knows how far it came."""

    def __init__(
        self,
        client: Client,
        *,
        key: Callable[[list[Line]], str] | None = None,
        up_to_the_bad_line: bool = False,
        shorten: Shorten | None = None,
    ) -> None:
        self._client = client
        self._key = key
        """The batch's idempotency key; without it the client's own, which only its own retries repeat."""
        self._up_to_the_bad_line = up_to_the_bad_line
        """Whether of a refused batch the lines before the bad one are stored. Not where batches must be the same
        another time."""
        self._shorten = shorten
        self.stored = 0
        self.known = 0
        """Messages that the server had stored before, under the same key."""
        self.lost = 0
        """Messages that are not stored, or of which that is not known, where that is no reason to stop."""

    def send(self, batch: list[Line]) -> None:
        """Raises what the server says, in words about lines, and about what is stored."""
        try:
            stored = self._client.publish_batch(
                [line.message for line in batch], idempotency_key=self._key(batch) if self._key else None
            )
        except _NOTHING_STORED as error:
            self._refused(batch, error)
        except RoomcastError as error:
            unknown = f"of the {len(batch)} from line {batch[0].number} on it is not known"
            raise Stopped(f"{error.detail}; {self.said()}, {unknown}") from error
        else:
            self.known += len(batch) * stored.known
            self.stored += len(batch) * (not stored.known)

    def _refused(self, batch: list[Line], error: RoomcastError) -> None:
        places = dict([place for fault in reversed(error.faults) if (place := _place(fault)) is not None])
        too_large = isinstance(error, TooLarge)
        alone = places or len(batch) == 1
        if too_large and alone and self._shorten and self._shorten(batch, min(places, default=0)):
            self.send(batch)
        elif places:
            bad = min(places)
            if bad and self._up_to_the_bad_line:
                self.send(batch[:bad])
            numbers = {batch[place].number for place in places}
            raise self.stopped(f"line {batch[bad].number} is refused: {places[bad]}", numbers) from error
        elif too_large and len(batch) > 1:  # a server that takes less at once
            self.send(batch[: len(batch) // 2])
            self.send(batch[len(batch) // 2 :])
        else:
            first, last = batch[0].number, batch[-1].number
            which = f"line {first} is" if first == last else f"lines {first} to {last} are"
            raise self.stopped(f"{which} refused: {error.detail}") from error

    def said(self) -> str:
        """How much is stored, in words."""
        before = f", {self.known:,} {'was' if self.known == 1 else 'were'} stored before" if self.known else ""
        return f"{said(self.stored)}{before}"

    def stopped(self, why: str, bad: Collection[int] | None = None) -> Stopped:
        """The error that says also what is stored."""
        return Stopped(f"{why}; {self.said()}", bad)

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


class Unstopped(Sender):
    """A sender that never stops: what cannot be stored is counted, and what comes after it is tried."""

    def __init__(self, client: Client, impatient: Client, tell: Callable[[str], None], shorten: Shorten) -> None:
        super().__init__(client, shorten=shorten)
        self._patient, self._impatient = client, impatient
        """The client for when all is well, and the one for when the server is known to be away: a pipe that is not
        read holds up the program that writes it."""
        self._tell = tell
        """Says what went wrong, the first time of several in a row."""

    def send(self, batch: list[Line]) -> None:
        """Raises nothing that a later batch may not meet."""
        while batch:
            try:
                super().send(batch)
            except Stopped as error:  # of this batch nothing is stored: parts of it come here by themselves
                self._told(error)
                rest = [line for line in batch if line.number not in error.bad] if error.bad else []
                self.lost += len(batch) - len(rest)
                batch = rest
            else:
                self._client = self._patient
                return

    def _told(self, error: Stopped) -> None:
        if not self.lost or (error.bad is None and self._client is self._patient):
            self._tell(f"{error.detail}; reading on")
        if error.bad is None:
            self._client = self._impatient


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
