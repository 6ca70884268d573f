"""What the writer knows of the database without asking it: each question gives the interpreter's lock away, and
beside a busy event loop it takes up to a switch interval to get it back. With it a commit is one statement."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count, repeat
from typing import Any

import msgspec

from roomcast.log.sqlite.queries import to_json
from roomcast.log.sqlite.state import State
from roomcast.model.message import Message

ROOMS = 10_000
"""Of which the newest message is known, at most."""
OLDEST = 2_000
"""Of so many of the oldest messages the sizes are read at once."""

Row = Callable[[str, dict[str, Any]], Sequence[Any]]
"""The one row of a query, by its name."""

Oldest = tuple[int, int, int]
"""A message's seq, size (-1: it is gone) and time."""

_newest = msgspec.json.Decoder(dict[str, int])
_sizes = msgspec.json.Decoder(list[int])
_oldest = msgspec.json.Decoder(list[Oldest])


class WriteCache:
    """The log as of the last commit, as far as it was needed. Nothing after a failure: then it is read afresh."""

    def __init__(self, row: Row, state: State) -> None:
        self._row = row
        self._state: State | None = state
        self._newest: dict[str, int] = {}
        self._oldest: list[Oldest] = []
        self._start = 0
        """Where those that are still there begin."""
        self._reach = state.trimmed
        """All from the oldest message up to here are among them."""
        self.cut: set[int] = set()
        """Those among them that went by a rule."""

    def forget(self) -> None:
        """What is in the database may be something else."""
        self._state = None
        self._newest = {}
        self.forget_oldest()

    def forget_oldest(self) -> None:
        """Messages among the oldest went, or became another size."""
        self._oldest, self._start, self._reach = [], 0, 0
        self.cut.clear()

    def learn(self, state: State, messages: Sequence[Message]) -> None:
        """It is committed."""
        self._state = state
        for message in messages:
            self._newest[message.room] = message.seq
        if len(self._newest) > ROOMS:
            self._newest = {}

    @property
    def state(self) -> State:
        if self._state is None:
            self._state = State(*self._row("load_state", {}))
        return self._state

    def newest(self, rooms: Collection[str]) -> Mapping[str, int]:
        """The newest message of each of these rooms that the log knows, and maybe of others."""
        if missing := [room for room in rooms if room not in self._newest]:
            [found] = self._row("load_newest", {"rooms": to_json(missing)})
            self._newest |= _newest.decode(found)
        return self._newest

    def note_cut(self, seqs: Sequence[int]) -> None:
        """These are going, and not because they are the oldest of all."""
        self.cut.update(seq for seq in seqs if seq <= self._reach)

    def _load(self, after: int, full: bool) -> list[Oldest]:
        """Times are left out unless `full`: that halves the cost."""
        [found] = self._row("load_oldest" if full else "load_sizes", {"after": after, "limit": OLDEST})
        if full:
            return _oldest.decode(found)
        return list(zip(count(after + 1), _sizes.decode(found), repeat(0)))

    def oldest(self, after: int, end: int, *, full: bool) -> Iterator[Oldest]:
        """The stored messages after a seq, oldest first, as many as it takes no long time to give; among them may
        be some of `cut`. `end`: no further ones are needed. Not `full`: the log has no holes, and of each only its
        seq and size are asked for."""
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
