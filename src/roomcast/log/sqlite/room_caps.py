"""Decides which messages go by the rules of their rooms. Knows no SQL except the names of queries.

It caches how many messages and bytes each room with a rule has, and its oldest messages as far as needed. So most
commits find the messages to trim without a query. The cache is bounded, and emptied after a failure.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from roomcast.log.sqlite.queries import to_json
from roomcast.model.message import Cut, Message
from roomcast.model.retention import NO_CAP, RoomRule, RoomRules

OLDEST = 32
"""How many of a room's oldest messages are read at once: 768 bytes a room."""
ROOMS = 16_384
"""The most rooms in the cache."""

_rows = msgspec.json.Decoder(list[tuple[str, int, int, list[tuple[int, int, int]]]])


class _Room:
    """A room with a rule, as far as it is cached."""

    __slots__ = ("bytes", "max_bytes", "max_messages", "messages", "oldest", "start")

    def __init__(
        self, rule: RoomRule, messages: int, size: int, oldest: Iterable[tuple[int, int, int]] = ()
    ) -> None:
        self.max_messages = rule.max_messages or NO_CAP
        self.max_bytes = rule.max_bytes or NO_CAP
        self.messages = messages
        self.bytes = size
        self.oldest = array("q", [number for row in oldest for number in row])
        """The seq, size and time of each of its oldest messages, one after the other."""
        self.start = 0
        """The index in `oldest` at which the retained messages begin."""

    @property
    def cached(self) -> int:
        """How many of its oldest messages are cached."""
        return (len(self.oldest) - self.start) // 3

    @property
    def is_over(self) -> bool:
        return self.messages > self.max_messages or self.bytes > self.max_bytes

    def catch_up(self, trimmed: int) -> bool:
        """Removes the messages, up to `trimmed`, that the caps of the whole log have trimmed. Returns False if the
        cached part does not reach that far."""
        oldest, start = self.oldest, self.start
        known = len(oldest)
        while start < known and oldest[start] <= trimmed:
            self.messages -= 1
            self.bytes -= oldest[start + 1]
            start += 3
        self.start = start
        return start < known or not self.messages

    def add(self, message: Message, size: int) -> bool:
        """Adds a message. Returns whether the room is now over its rule."""
        messages = self.messages
        # Cached only if all messages before it are. Otherwise it is read once it is among the oldest.
        if messages < OLDEST and len(self.oldest) - self.start == 3 * messages:
            if self.start >= 3 * OLDEST:
                del self.oldest[: self.start]
                self.start = 0
            self.oldest.extend((message.seq, size, message.stored_at))
        self.messages = messages = messages + 1
        self.bytes = size_now = self.bytes + size
        return messages > self.max_messages or size_now > self.max_bytes

    def trim(self) -> tuple[int, int]:
        """Removes its oldest message. Returns the seq and the size of that message."""
        seq, size = self.oldest[self.start], self.oldest[self.start + 1]
        self.start += 3
        self.messages -= 1
        self.bytes -= size
        return seq, size


class RoomCaps:
    """The rooms with rules."""

    def __init__(self, rules: RoomRules, row: Callable[[str, dict[str, Any]], Sequence[Any]]) -> None:
        self.rules = rules
        self._row = row
        self._rooms: dict[str, _Room] = {}
        self.over: dict[str, None] = {}
        """Rooms that have more than their rules allow."""
        self._brought_down: dict[str, None] = {}
        """Rooms that the last cut removed from `over`."""
        self.added_since_cut = 0
        """How many messages were added to rooms in `over` since the last cut."""

    def forget(self) -> None:
        """Empties the cache after a failed job: the database may differ from it. The rooms that the last cut
        brought down may still be over their rules."""
        self._rooms.clear()
        self.over |= self._brought_down

    def learn(self, messages: Sequence[Message], trimmed: int) -> None:
        """Notes messages that are about to be stored. `trimmed`: how far the log is trimmed."""
        rooms, rule_of = self._rooms, self.rules.of
        unknown: list[Message] = []
        for message in messages:
            room = rooms.get(message.room)
            if room is not None and room.catch_up(trimmed):
                if room.add(message, len(message.body)):
                    self._note_over(message.room)
            elif rule_of(message.room) is not None:
                unknown.append(message)
        if unknown:
            self._load([message.room for message in unknown], trimmed)
            for message in unknown:
                if rooms[message.room].add(message, len(message.body)):
                    self._note_over(message.room)

    def _note_over(self, room: str) -> None:
        self.over[room] = None
        self.added_since_cut += 1

    def note_walked(self, rows: Iterable[tuple[str, int, int, int]], now: int) -> None:
        """Adds rooms that a walk has found to `over`, if they have more than their rules allow. `rows`: the name
        of each, its messages, its bytes, and when its oldest was stored. That and `now` are in ms since 1970."""
        for name, messages, size, oldest_at in rows:
            rule = self.rules.of(name)
            if rule and (_Room(rule, messages, size).is_over or oldest_at < _too_old(rule, now)):
                self.over[name] = None

    def drop(self, room: str) -> None:
        """Drops `room` from the cache: something other than its rule has changed it."""
        self._rooms.pop(room, None)

    def _load(self, rooms: Iterable[str], trimmed: int) -> None:
        """Loads the rooms that have a rule into the cache. `trimmed`: how far the log is trimmed."""
        missing: dict[str, RoomRule] = {}
        for name in rooms:
            room = self._rooms.get(name)
            rule = self.rules.of(name)
            if rule is not None and (room is None or not room.catch_up(trimmed)):
                missing[name] = rule
        if missing:
            self._rooms |= {name: _Room(rule, 0, 0) for name, rule in missing.items()}
            for name, messages, size, oldest in self._read(list(missing)):
                self._rooms[name] = _Room(missing[name], messages, size, oldest)

    def make_space(self) -> None:
        """Empties the cache if it is too large. Only between two steps."""
        if len(self._rooms) > ROOMS:
            self._rooms.clear()

    def cut(self, limit: int, trimmed: int, end: int, now: int) -> tuple[list[Cut], list[int], int]:
        """Decides what to remove now from a log that is trimmed up to `trimmed`: at most `limit` messages, none
        newer than `end`. `now`: in ms since 1970. Returns the cuts, the seqs to remove, and their size in
        bytes."""
        self._brought_down = {}
        cuts: list[Cut] = []
        seqs: list[int] = []
        size = self.added_since_cut = 0
        for name in list(self.over):
            if len(seqs) >= limit:
                break
            rule, before = self.rules.of(name), len(seqs)
            assert rule  # only rooms with a rule are in `over`
            self._load([name], trimmed)
            room = self._rooms[name]
            gone, done = self._cut_room(name, room, rule, limit - before, end, now, seqs)
            size += gone
            if len(seqs) > before:
                cuts.append(Cut(name, seqs[-1], len(seqs) - before))
            if done and not room.is_over:
                del self.over[name]
                self._brought_down[name] = None
        return cuts, seqs, size

    def _cut_room(
        self, name: str, room: _Room, rule: RoomRule, limit: int, end: int, now: int, seqs: list[int]
    ) -> tuple[int, bool]:
        """Adds the messages to remove to `seqs`. Returns their bytes, and whether no more may go now."""
        too_old = _too_old(rule, now)
        size = last = 0
        for _ in range(limit):
            if not room.cached and room.messages:
                self._read_on(name, room, last)
            if not room.cached:
                return size, not room.messages
            seq, _, stored_at = room.oldest[room.start : room.start + 3]
            if seq > end or not (room.is_over or stored_at < too_old):
                return size, True
            last, gone = room.trim()
            seqs.append(last)
            size += gone
        return size, False

    def _read_on(self, name: str, room: _Room, after: int) -> None:
        """Reads the next of its oldest messages. Those up to `after` are still stored, but this step removes
        them."""
        for _, _, _, oldest in self._read([name], after):
            room.oldest = array("q", [number for row in oldest for number in row])
            room.start = 0

    def _read(
        self, rooms: Sequence[str], after: int = 0
    ) -> list[tuple[str, int, int, list[tuple[int, int, int]]]]:
        [found] = self._row("load_rooms", {"rooms": to_json(rooms), "after": after, "limit": OLDEST})
        return _rows.decode(found)


def _too_old(rule: RoomRule, now: int) -> int:
    """Messages stored before this time (ms since 1970) are too old; -1 if none are."""
    return -1 if rule.max_age is None else now - int(rule.max_age * 1000)
