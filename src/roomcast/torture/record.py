"""What was tried, what came of it, and what must be true of that.

- acknowledged ⊆ delivered ⊆ attempted, where delivered means: heard, or named in a gap;
- an id has one message and a message one id, for publishers and all followers alike, and no follower ever hears
  an id that is not greater than the one before: so there is one order, and nothing comes twice;
- a batch has consecutive ids;
- a gap names rooms of which something was lost, and no fewer messages than were.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

MOST_SHOWN = 20
"""Violations that are kept as text; all are counted."""


class Position(NamedTuple):
    """An id, read."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, id: str) -> Position:
        """Raises `ValueError`."""
        epoch, _, seq = id.rpartition("-")
        return cls(epoch, int(seq))


class Record:
    """Everything known of one attack."""

    def __init__(self) -> None:
        self.attempted: dict[str, str] = {}
        """The room of each text that was ever sent."""
        self.unknown: set[str] = set()
        """Texts of publishes that were not answered: they may be stored, or not."""
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.epoch = ""
        self._seq_of: dict[str, int] = {}
        self._text_of: dict[int, str] = {}
        self._seqs: dict[str, list[int]] = {}

    def violate(self, what: str) -> None:
        """A promise is broken."""
        self.counts["violations"] += 1
        if len(self.violations) < MOST_SHOWN:
            self.violations.append(what)

    def attempt(self, texts: Iterable[str], room: str) -> None:
        """They are about to be published."""
        self.attempted |= dict.fromkeys(texts, room)
        self.unknown |= set(texts)

    def acknowledge(self, texts: Sequence[str], messages: Sequence[Mapping[str, Any]]) -> None:
        """The server says that they are stored as these messages."""
        self.unknown -= set(texts)
        self.counts["acknowledged"] += len(texts)
        if [message["text"] for message in messages] != list(texts):
            self.violate(f"the publish of {texts[0]!r} was answered with another's messages")
            return
        seqs = [self.identify(message) for message in messages]
        if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            self.violate(f"a batch has the ids {seqs}, which are not consecutive")

    def refuse(self, texts: Sequence[str]) -> None:
        """The server says that they are not stored."""
        self.unknown -= set(texts)
        self.counts["refused"] += len(texts)
        for text in texts:
            if text in self._seq_of:
                self.violate(f"{text!r} was refused, and stored all the same")
            del self.attempted[text]

    def identify(self, message: Mapping[str, Any]) -> int:
        """The seq of a message from anywhere, which must be the one it had everywhere else."""
        text, room, position = message["text"], message["room"], Position.parse(message["id"])
        self._check_epoch(position)
        if self.attempted.get(text) != room:
            self.violate(f"{message['id']} is {text!r} in {room}, which nobody published there")
        if position.seq not in self._text_of:
            insort(self._seqs.setdefault(room, []), position.seq)
        if (seq := self._seq_of.setdefault(text, position.seq)) != position.seq:
            self.violate(f"{text!r} is stored twice: as {seq} and as {position.seq}")
        if (other := self._text_of.setdefault(position.seq, text)) != text:
            self.violate(f"{position.seq} is {other!r} for one and {text!r} for another")
        return position.seq

    def known(self, room: str, after: int, to: int) -> Sequence[int]:
        """The seqs of what is known to be stored in a room, after < seq <= to."""
        seqs = self._seqs.get(room, [])
        return seqs[bisect_right(seqs, after) : bisect_right(seqs, to)]

    def newest(self, room: str) -> int:
        """The greatest of them; 0 where nothing is."""
        return self._seqs.get(room, [0])[-1]

    def unheard(self, room: str) -> bool:
        """Whether something may be stored in a room that nobody ever saw."""
        return any(self.attempted[text] == room and text not in self._seq_of for text in self.unknown)

    def _check_epoch(self, position: Position) -> None:
        if not self.epoch:
            self.epoch = position.epoch
        elif position.epoch != self.epoch:
            self.violate(f"the log's epoch changed from {self.epoch} to {position.epoch}: what it held is lost")
            self.epoch = position.epoch
