"""The record of an attack: what was tried, what came of it, and whether the promises were kept:

- acknowledged ⊆ delivered ⊆ attempted, where delivered means: heard, or named in a gap;
- an id has one message and a message one id, for publishers, followers and the history alike, and no follower ever
  hears an id that is not greater than the one before: so there is one order, and nothing comes twice;
- a message that is published after another was known to be stored has the greater id;
- a batch has consecutive ids;
- a key stores once, as long as its first message is retained;
- a gap names only rooms that lost messages, and no fewer messages than were lost;
- a gap of deleted messages names no others, and deleted messages are not there at the end;
- the epoch does not change.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

_MAX_SEQ = 2**63 - 1
"""Transcripts keep seqs in 64 bits."""
MOST_SHOWN = 20
"""Violations that are kept as text. All are counted."""


class Position(NamedTuple):
    """A parsed id."""

    epoch: str
    seq: int

    @classmethod
    def parse(cls, id: str) -> Position:
        """Returns the parts of `id`, which a faulty server may have sent. Raises `ValueError`, also if it is no
        text."""
        epoch, _, seq = id.rpartition("-") if isinstance(id, str) else ("", "", "")
        if (number := int(seq)) > _MAX_SEQ:
            raise ValueError(f"{id!r} is too large")
        return cls(epoch, number)


class Double(NamedTuple):
    """A text that is stored twice."""

    text: str
    first: int
    second: int


class Record:
    """Everything that is known of one attack."""

    def __init__(self) -> None:
        self.attempted: dict[str, str] = {}
        """The room of each text that was ever sent and not refused."""
        self.unknown: set[str] = set()
        """Texts of publishes that were not answered: they may be stored, or not."""
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.epoch = ""
        self.epoch_changed = False
        """Whether the epoch has changed. Later messages cannot be compared with earlier ones."""
        self.deleting: set[int] = set()
        """The seqs of messages whose deletion was requested."""
        self.deleted: set[int] = set()
        """The seqs of messages that the server says are deleted."""
        self._seq_of: dict[str, int] = {}
        self._text_of: dict[int, str] = {}
        self._hashes: dict[int, int] = {}
        """A hash of each message, by its seq."""
        self._seqs: dict[str, list[int]] = {}
        self._newest = 0
        self._floor: dict[str, int] = {}
        """The newest seq that was known when each text was first sent."""
        self._refused: set[str] = set()
        self._doubles: list[Double] = []

    def violate(self, what: str) -> None:
        """Records a broken promise. `what` is one line for the user."""
        self.counts["violations"] += 1
        if len(self.violations) < MOST_SHOWN:
            self.violations.append(what)

    def attempt(self, texts: Iterable[str], room: str) -> None:
        """Notes that `texts` are about to be published to `room`."""
        texts = list(texts)
        self.attempted |= dict.fromkeys(texts, room)
        self._floor |= dict.fromkeys(texts, self._newest)
        self.unknown |= set(texts)

    def acknowledge(self, texts: Sequence[str], messages: Sequence[Mapping[str, Any]]) -> bool:
        """Notes that the server says these `texts` are stored as these `messages`. Returns whether the messages
        have these texts. Raises `KeyError`, `TypeError` or `ValueError` for malformed messages."""
        self.unknown -= set(texts)
        self.counts["acknowledged"] += len(texts)
        if [message["text"] for message in messages] != list(texts):
            self.violate(f"the publish of {texts[0]!r} was answered with another's messages")
            return False
        seqs = [self.identify(message) for message in messages]
        if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            self.violate(f"a batch has the ids {seqs}, which are not consecutive")
        return True

    def refuse(self, texts: Sequence[str]) -> None:
        """Notes that the server says these texts are not stored."""
        self.unknown -= set(texts)
        self.counts["refused"] += len(texts)
        self._refused |= set(texts)
        for text in texts:
            if text in self._seq_of:
                self.violate(f"{text!r} was refused, and stored all the same")
            del self.attempted[text]

    def identify(self, message: Mapping[str, Any]) -> int:
        """Returns the seq of a message, and checks that the message is the same wherever it was seen. Raises
        `KeyError`, `TypeError` or `ValueError` for a malformed message."""
        text, room, position = message["text"], message["room"], Position.parse(message["id"])
        if self.same_epoch(position) and self._hashes.get(position.seq) != (
            found := hash(repr(sorted(message.items())))
        ):
            if position.seq in self._hashes:
                other = self._text_of[position.seq]
                self.violate(f"{position.seq} is {other!r} for one and {text!r} for another, or differs otherwise")
            else:
                self._hashes[position.seq] = found
                self._store(text, room, position.seq)
        return position.seq

    def known(self, room: str, after: int, to: int) -> Sequence[int]:
        """Returns the known seqs of a room, with `after` < seq <= `to`."""
        seqs = self._seqs.get(room, [])
        return seqs[bisect_right(seqs, after) : bisect_right(seqs, to)]

    def newest(self, room: str) -> int:
        """Returns the highest known seq of a room; 0 if there is none."""
        return self._seqs.get(room, [0])[-1]

    def unheard(self, room: str, before: int) -> bool:
        """Whether a room may have a stored message, with seq < `before`, that nobody has seen."""
        return any(
            self.attempted[text] == room and text not in self._seq_of and self._floor[text] < before - 1
            for text in self.unknown
        )

    def same_epoch(self, position: Position) -> bool:
        """Whether a position has the epoch of the attack's first one. The first other epoch is a violation."""
        self.epoch = self.epoch or position.epoch
        if position.epoch != self.epoch and not self.epoch_changed:
            self.epoch_changed = True
            self.violate(f"the log's epoch changed from {self.epoch} to {position.epoch}: what it held is lost")
        return position.epoch == self.epoch

    def judge_doubles(self, retained: int) -> None:
        """Records a violation for each text that is stored twice although its key must still be known: the log
        retains `retained` messages. Only half of them are assumed, since the log may be capped by bytes."""
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
