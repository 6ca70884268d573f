"""What the writer knows of the database without asking it: each question gives the interpreter's lock away, and
beside a busy event loop it takes up to a switch interval to get it back. With it a commit is one statement."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from roomcast.log.sqlite.queries import to_json
from roomcast.log.sqlite.state import State
from roomcast.model.message import Message

ROOMS = 10_000
"""Of which the newest message is known, at most."""
SIZES = 2_000
"""How many sizes are read at once."""

Row = Callable[[str, dict[str, Any]], Sequence[Any]]
"""The one row of a query, by its name."""

_newest = msgspec.json.Decoder(dict[str, int])
_sizes = msgspec.json.Decoder(list[int])


class WriteCache:
    """The log as of the last commit, as far as it was needed. Nothing after a failure: then it is read afresh."""

    def __init__(self, row: Row, state: State) -> None:
        self._row = row
        self._state: State | None = state
        self._newest: dict[str, int] = {}
        self._sizes: list[int] = []
        self._sizes_from = 0
        """The message before the first whose size is known."""

    def forget(self) -> None:
        """What is in the database may be something else."""
        self._state = None
        self._newest = {}
        self._sizes = []

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

    def sizes(self, after: int, end: int) -> Sequence[int]:
        """The sizes of the stored messages after < seq <= end."""
        start = after - self._sizes_from
        if not 0 <= start <= len(self._sizes) - (end - after):
            [found] = self._row("load_sizes", {"after": after, "limit": max(SIZES, end - after)})
            self._sizes, self._sizes_from, start = _sizes.decode(found), after, 0
        return self._sizes[start : start + end - after]
