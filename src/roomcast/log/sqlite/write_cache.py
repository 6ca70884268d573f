"""The part of the database that the writer keeps in memory, so that a commit is one statement. Each query releases
the interpreter's lock. Beside a busy event loop, it can take up to a switch interval to get it back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count, repeat
from typing import Any

import msgspec

from roomcast.log.sqlite.queries import to_json
from roomcast.log.sqlite.state import LogState
from roomcast.model.message import Message

ROOMS = 10_000
"""The most rooms whose newest message is cached."""
OLDEST = 2_000
"""How many of the oldest messages are read at once."""

ReadRow = Callable[[str, dict[str, Any]], Sequence[Any]]
"""Runs a query by its name, and returns its one row."""

Candidate = tuple[int, int, int]
"""A message's seq, size in bytes (-1: it is gone) and time (ms since 1970)."""

_newest = msgspec.json.Decoder(dict[str, int])
_sizes = msgspec.json.Decoder(list[int])
_oldest = msgspec.json.Decoder(list[Candidate])


class WriteCache:
    """The log as of the last commit, as far as needed. A failure empties the cache; it is then read again."""

    def __init__(self, row: ReadRow, state: LogState) -> None:
        self._row = row
        self._state: LogState | None = state
        self._newest: dict[str, int] = {}
        self._oldest: list[Candidate] = []
        self._start = 0
        """The index in `_oldest` where the messages begin that are not trimmed yet."""
        self._reach = state.trimmed
        """`_oldest` has all messages up to this seq."""
        self.cut: set[int] = set()
        """The messages in `_oldest` that a rule has removed."""

    def forget(self) -> None:
        """Empties the cache: the database may differ from it."""
        self._state = None
        self._newest = {}
        self.forget_oldest()

    def forget_oldest(self) -> None:
        """Empties the list of the oldest messages: some may be gone, have another size, or lack the time that a
        new rule needs."""
        self._oldest, self._start, self._reach = [], 0, 0

    def learn(self, state: LogState, messages: Sequence[Message]) -> None:
        """Notes a commit: the `messages` that it stored, and the `state` of the log after it."""
        self._state = state
        for message in messages:
            self._newest[message.room] = message.seq
        if len(self._newest) > ROOMS:
            self._newest = {}

    @property
    def state(self) -> LogState:
        """The log as of the last commit. After a failure it is read again, which may raise `apsw.Error`."""
        if self._state is None:
            self._state = LogState(*self._row("load_state", {}))
        return self._state

    def newest(self, rooms: Collection[str]) -> Mapping[str, int]:
        """The seq of the newest message of each room in `rooms` that the log knows. The result may have other
        rooms."""
        if missing := [room for room in rooms if room not in self._newest]:
            [found] = self._row("load_newest", {"rooms": to_json(missing)})
            self._newest |= _newest.decode(found)
        return self._newest

    def note_cut(self, seqs: Sequence[int]) -> None:
        """Notes that a rule removes the messages `seqs`, so that `oldest` need not be read again."""
        self.cut.update(seq for seq in seqs if seq <= self._reach)

    def _load(self, after: int, full: bool) -> list[Candidate]:
        """Reads the oldest messages after a seq. Without `full` the times are left out, which halves the cost."""
        [found] = self._row("load_oldest" if full else "load_sizes", {"after": after, "limit": OLDEST})
        if full:
            return _oldest.decode(found)
        return list(zip(count(after + 1), _sizes.decode(found), repeat(0)))

    def oldest(self, after: int, end: int, *, full: bool) -> Iterator[Candidate]:
        """The first messages stored after the seq `after`, at most `OLDEST`. Some of `cut` may be among them. The
        caller needs none after the seq `end`. With `full=False` it needs only their seq and size, and the log must
        have no holes."""
        start, oldest = self._start, self._oldest
        while start < len(oldest) and oldest[start][0] <= after:
            start += 1
        if start == len(oldest) and self._reach < end:
            self._oldest = oldest = self._load(after, full)
            self._reach = oldest[-1][0] if len(oldest) >= OLDEST else self.state.newest
            self.cut.clear()
            start = 0
        self._start = start
        return map(oldest.__getitem__, range(start, len(oldest)))
