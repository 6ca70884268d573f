"""Sends many messages to a server, in batches of the lines that have come, and reports errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from roomcast.cli.lines import BadLine, InputLine
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
"""Messages of a batch."""
PATIENCE = 30.0
"""Seconds that a server may be away while many messages are published or exported."""
MAX_BYTES = 512 * 1024
"""Bytes of a batch: half of the default limit of a server, and of nginx in front of it."""
_NOTHING_STORED = (Forbidden, Invalid, Malformed, TooLarge, Unauthenticated)
"""After these errors no part of the batch is stored."""


class Stopped(RoomcastError):
    """A part of the input is not stored."""

    kind = "stopped"

    def __init__(self, detail: str, bad: Collection[int] | None = None) -> None:
        super().__init__(detail)
        self.bad = bad
        """Numbers of the refused lines; None if the whole batch is lost."""


class Line(NamedTuple):
    """A message from the input."""

    number: int
    """Counted from 1."""
    message: dict[str, Any]
    size: int
    """Bytes as JSON, with the comma after it."""
    read: InputLine | None = None
    """The line itself if it is text, which may be cut."""

    @classmethod
    def of(cls, number: int, message: dict[str, Any], read: InputLine | None = None) -> Line:
        """Makes line `number` from a `message`. `read` is the input's line if that is text. Raises `BadLine` if
        JSON cannot express the message."""
        try:
            return cls(number, message, len(encoded(message)) + 1, read)
        except Invalid as error:
            raise BadLine(f"line {number}: {error.detail}") from None


def batches(lines: Iterable[Line | None]) -> Iterator[list[Line]]:
    """Groups `lines` into batches: as many as may be sent at once, or fewer if the next line has not come yet
    (None). Lines before a bad one are a batch as well; after it the bad line's `BadLine` is raised."""
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
"""Cuts the line at this place of a batch, and all others that are too large for the server. Returns whether that
was possible."""


class BatchSender:
    """Publishes batches, and counts the messages."""

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
        """Makes a batch's idempotency key. Without it each batch has a random one, which only its retries
        share."""
        self._up_to_the_bad_line = up_to_the_bad_line
        """Whether the lines before a refused one are stored. Not for an import, whose batches must be the same in
        its next run."""
        self._shorten = shorten
        self.stored = 0
        self.known = 0
        """Messages that the server had stored before, with the same key."""
        self.lost = 0
        """Messages that were skipped without a stop: the server refused them, or never confirmed them."""

    def send(self, batch: list[Line]) -> None:
        """Publishes a `batch`. Raises `Stopped`, which names the lines and the number of stored messages."""
        try:
            stored = self._client.publish_batch(
                [line.message for line in batch], idempotency_key=self._key(batch) if self._key else None
            )
        except _NOTHING_STORED as error:
            self._refused(batch, error)
        except RoomcastError as error:
            unknown = f"and perhaps also the {len(batch)} from line {batch[0].number} on"
            raise Stopped(f"{error.detail}; {self.summary()}, {unknown}") from error
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
        elif too_large and len(batch) > 1:  # the server has a lower limit for a body
            self.send(batch[: len(batch) // 2])
            self.send(batch[len(batch) // 2 :])
        else:
            first, last = batch[0].number, batch[-1].number
            which = f"line {first} is" if first == last else f"lines {first} to {last} are"
            raise self.stopped(f"{which} refused: {error.detail}") from error

    def summary(self) -> str:
        """A sentence on the number of stored messages."""
        before = f", {self.known:,} {'was' if self.known == 1 else 'were'} stored before" if self.known else ""
        return f"{self.stored:,} message{' is' if self.stored == 1 else 's are'} stored{before}"

    def stopped(self, why: str, bad: Collection[int] | None = None) -> Stopped:
        """Makes the error that ends the input: `why`, with the number of stored messages, and the numbers `bad` of
        refused lines."""
        return Stopped(f"{why}; {self.summary()}", bad)

    def send_all(self, lines: Iterable[Line | None], progress: Progress) -> None:
        """Publishes all `lines` (None: the next one has not come yet), and shows the `progress`. Raises
        `Stopped`."""
        try:
            for batch in batches(lines):
                self.send(batch)
                progress.show(self.stored)
        except BadLine as error:
            raise self.stopped(error.detail) from None
        finally:
            progress.done()


class NonStopSender(BatchSender):
    """Never stops: it counts the messages that cannot be stored, and tries the next ones."""

    def __init__(self, client: Client, impatient: Client, tell: Callable[[str], None], shorten: Shorten) -> None:
        super().__init__(client, shorten=shorten)
        self._patient, self._impatient = client, impatient
        """The second client is used while the server is known to be away: waiting for it would block the program
        that writes into the pipe."""
        self._tell = tell
        """Reports an error: the first one, and later only the loss of a whole batch, once for several in a row."""

    def send(self, batch: list[Line]) -> None:
        """Publishes a `batch` without the lines that are refused. Raises no `Stopped`: what cannot be stored is
        counted in `lost`."""
        while batch:
            try:
                super().send(batch)
            except Stopped as error:  # about `batch` itself: its parts are sent by this method, which raises none
                self._report(error)
                rest = [line for line in batch if line.number not in error.bad] if error.bad else []
                self.lost += len(batch) - len(rest)
                batch = rest
            else:
                self._client = self._patient
                return

    def _report(self, error: Stopped) -> None:
        if not self.lost or (error.bad is None and self._client is self._patient):
            self._tell(f"{error.detail}; reading on")
        if error.bad is None:
            self._client = self._impatient


def _place(fault: Fault) -> tuple[int, str] | None:
    """The place of the faulty message in the batch, and its error."""
    _, _, rest = fault.pointer.partition("/")
    number, _, field = rest.partition("/")
    if not number.isdecimal():
        return None
    return int(number), f"{field} {fault.detail}" if field else fault.detail
