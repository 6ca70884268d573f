"""What was tried, what came of it, and what must be true of that.

- acknowledged ⊆ delivered ⊆ attempted, where delivered means: heard, or named in a gap;
- an id has one message and a message one id, for publishers, followers and the history alike, and no follower ever
  hears an id that is not greater than the one before: so there is one order, and nothing comes twice;
- what is published after something was known to be stored has the greater id;
- a batch has consecutive ids;
- a key stores once, as long as its first message is retained;
- a gap names rooms of which something was lost, and no fewer messages than were;
- a gap of what was deleted names nothing else, and what was deleted is not there when all is over;
- the epoch stays.
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


class Double(NamedTuple):
    """A text that is stored twice."""

    text: str
    first: int
    second: int


class Record:
    """Everything known of one attack."""

    def __init__(self) -> None:
        self.attempted: dict[str, str] = {}
        """The room of each text that was ever sent and not refused."""
        self.unknown: set[str] = set()
        """Texts of publishes that were not answered: they may be stored, or not."""
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.epoch = ""
        self.epoch_changed = False
        """What follows cannot be compared with what was before."""
        self.deleting: set[int] = set()
        """The seqs of messages whose deletion was asked for."""
        self.deleted: set[int] = set()
        """Those of them that the server says are deleted."""
        self._seq_of: dict[str, int] = {}
        self._text_of: dict[int, str] = {}
        self._looks: dict[int, int] = {}
        """A hash of each message, by its seq."""
        self._seqs: dict[str, list[int]] = {}
        self._newest = 0
        self._floor: dict[str, int] = {}
        """For each text the newest seq that was known when it was first sent."""
        self._refused: set[str] = set()
        self._doubles: list[Double] = []

    def violate(self, what: str) -> None:
        """A promise is broken."""
        self.counts["violations"] += 1
        if len(self.violations) < MOST_SHOWN:
            self.violations.append(what)

    def attempt(self, texts: Iterable[str], room: str) -> None:
        """They are about to be published."""
        texts = list(texts)
        self.attempted |= dict.fromkeys(texts, room)
        self._floor |= dict.fromkeys(texts, self._newest)
        self.unknown |= set(texts)

    def acknowledge(self, texts: Sequence[str], messages: Sequence[Mapping[str, Any]]) -> None:
        """The server says that they are stored as these messages. Raises `KeyError`, `TypeError` or `ValueError`
        for what are no messages."""
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
        self._refused |= set(texts)
        for text in texts:
            if text in self._seq_of:
                self.violate(f"{text!r} was refused, and stored all the same")
            del self.attempted[text]

    def identify(self, message: Mapping[str, Any]) -> int:
        """The seq of a message from anywhere, which must be the one it had everywhere else. Raises `KeyError` or
        `ValueError` for what is no message."""
        text, room, position = message["text"], message["room"], Position.parse(message["id"])
        if self.same_epoch(position) and self._looks.get(position.seq) != (
            looks := hash(repr(sorted(message.items())))
        ):
            if position.seq in self._looks:
                other = self._text_of[position.seq]
                self.violate(f"{position.seq} is {other!r} for one and {text!r} for another, or differs otherwise")
            else:
                self._looks[position.seq] = looks
                self._store(text, room, position.seq)
        return position.seq

    def known(self, room: str, after: int, to: int) -> Sequence[int]:
        """The seqs of what is known to be stored in a room, after < seq <= to."""
        seqs = self._seqs.get(room, [])
        return seqs[bisect_right(seqs, after) : bisect_right(seqs, to)]

    def newest(self, room: str) -> int:
        """The greatest of them; 0 where nothing is."""
        return self._seqs.get(room, [0])[-1]

    def unheard(self, room: str, before: int) -> bool:
        """Whether something may be stored in a room, with seq < before, that nobody ever saw."""
        return any(
            self.attempted[text] == room and text not in self._seq_of and self._floor[text] < before - 1
            for text in self.unknown
        )

    def same_epoch(self, position: Position) -> bool:
        """Whether it is of the log that was attacked first; the first time that it is not is a violation."""
        self.epoch = self.epoch or position.epoch
        if position.epoch != self.epoch and not self.epoch_changed:
            self.epoch_changed = True
            self.violate(f"the log's epoch changed from {self.epoch} to {position.epoch}: what it held is lost")
        return position.epoch == self.epoch

    def judge_doubles(self, retained: int) -> None:
        """Violates what is stored twice, where the key cannot have been forgotten with its first message: of a log
        that retains so many. Half of them are taken, as a cap in bytes is not one in messages."""
        for text, first, second in self._doubles:
            if second - first < max(retained // 2, 1):
                self.violate(f"{text!r} is stored twice: as {first} and as {second}")
        self._doubles.clear()

    def _store(self, text: str, room: str, seq: int) -> None:
        if text in self._refused:
            self.violate(f"{text!r} was refused, and stored all the same, as {seq}")
        elif self.attempted.get(text) != room:
            self.violate(f"{seq} is {text!r} in {room}, which nobody published there")
        elif seq <= self._floor[text]:
            self.violate(f"{text!r} is stored as {seq}, and was published when {self._floor[text]} was stored")
        if text in self._seq_of:
            first, second = sorted((self._seq_of[text], seq))
            self._doubles.append(Double(text, first, second))
        self._seq_of[text] = seq
        self._text_of[seq] = text
        self._newest = max(self._newest, seq)
        insort(self._seqs.setdefault(room, []), seq)
