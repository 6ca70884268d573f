"""What goes of rooms by their rules, as the writer reckons it. Knows no SQL but the names of queries.

Of each room with a rule it knows how much it has and its oldest messages, as far as it was needed: most commits
then find what they trim without asking the database. It is bounded, and forgets all after a failure.
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
"""Of so many of a room's oldest messages the sizes are read at once: 768 bytes a room."""
ROOMS = 16_384
"""Of so many rooms they are known at most."""

_rows = msgspec.json.Decoder(list[tuple[str, int, int, list[tuple[int, int, int]]]])


class _Room:
    """A room with a rule."""

    __slots__ = ("bytes", "max_bytes", "max_messages", "messages", "oldest", "start")

    def __init__(
        self, rule: RoomRule, messages: int, size: int, oldest: Iterable[tuple[int, int, int]] = ()
    ) -> None:
        self.max_messages = rule.max_messages or NO_CAP
        self.max_bytes = rule.max_bytes or NO_CAP
        self.messages = messages
        self.bytes = size
        self.oldest = array("q", [number for row in oldest for number in row])
        """seq, size and time of each of its oldest messages."""
        self.start = 0
        """Where those that are still there begin."""

    @property
    def known(self) -> int:
        return (len(self.oldest) - self.start) // 3

    @property
    def is_over(self) -> bool:
        return self.messages > self.max_messages or self.bytes > self.max_bytes

    def pass_by(self, trimmed: int) -> bool:
        """Removes what the caps of the whole log took, which is trimmed up to `trimmed`; False if the known part
        of the room does not reach that far."""
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
        # Where all of it is known, what comes is, too; otherwise it is read when its turn comes.
        if messages < OLDEST and len(self.oldest) - self.start == 3 * messages:
            if self.start >= 3 * OLDEST:
                del self.oldest[: self.start]
                self.start = 0
            self.oldest.extend((message.seq, size, message.stored_at))
        self.messages = messages = messages + 1
        self.bytes = held = self.bytes + size
        return messages > self.max_messages or held > self.max_bytes

    def trim(self) -> tuple[int, int]:
        """Takes its oldest message off: its seq and size."""
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
        """Rooms that have more than their rules leave them."""
        self.due = 0
        """How many messages came to such rooms since the last cut."""

    def __bool__(self) -> bool:
        return bool(self.rules)

    def forget(self) -> None:
        """What is in the database may be something else."""
        self._rooms.clear()

    def learn(self, messages: Sequence[Message], trimmed: int) -> None:
        """Notes messages that will be stored in a log that is trimmed up to `trimmed`."""
        rooms, of = self._rooms, self.rules.of
        strange: list[Message] = []
        for message in messages:
            room = rooms.get(message.room)
            if room is not None and room.pass_by(trimmed):
                if room.add(message, len(message.body)):
                    self._note_over(message.room)
            elif of(message.room) is not None:
                strange.append(message)
                if room is not None:
                    del rooms[message.room]
        if strange:
            self.load([message.room for message in strange], trimmed)
            for message in strange:
                if rooms[message.room].add(message, len(message.body)):
                    self._note_over(message.room)

    def _note_over(self, room: str) -> None:
        self.over[room] = None
        self.due += 1

    def note(self, rows: Iterable[tuple[str, int, int, int]], now: int) -> None:
        """Rooms as a walk finds them: how much they have, and when their oldest was stored."""
        for name, messages, size, oldest_at in rows:
            rule = self.rules.of(name)
            if rule and (_Room(rule, messages, size).is_over or oldest_at < _too_old(rule, now)):
                self.over[name] = None

    def drop(self, room: str) -> None:
        """Something else has become of a room."""
        self._rooms.pop(room, None)

    def load(self, rooms: Iterable[str], trimmed: int) -> None:
        """Loads the state of those of these rooms that have a rule. `trimmed`: how far the log is trimmed."""
        missing: dict[str, RoomRule] = {}
        for name in rooms:
            room = self._rooms.get(name)
            rule = self.rules.of(name)
            if rule is not None and (room is None or not room.pass_by(trimmed)):
                missing[name] = rule
        if missing:
            self._rooms |= {name: _Room(rule, 0, 0) for name, rule in missing.items()}
            for name, messages, size, oldest in self._read(list(missing)):
                self._rooms[name] = _Room(missing[name], messages, size, oldest)

    def make_space(self) -> None:
        """Forgets what is known where that is too much. Only between two steps."""
        if len(self._rooms) > ROOMS:
            self._rooms.clear()

    def cut(self, most: int, trimmed: int, end: int, now: int) -> tuple[list[Cut], list[int], int]:
        """What to remove now from a log that is trimmed up to `trimmed`: at most `most` messages, none newer than
        `end`. Returns the cuts, all seqs, and their bytes."""
        cuts: list[Cut] = []
        seqs: list[int] = []
        size = self.due = 0
        for name in list(self.over):
            if len(seqs) >= most:
                break
            rule, before = self.rules.of(name), len(seqs)
            if rule is None:
                del self.over[name]
                continue
            self.load([name], trimmed)
            room = self._rooms[name]
            gone, done = self._cut_room(name, room, rule, most - before, end, now, seqs)
            size += gone
            if len(seqs) > before:
                cuts.append(Cut(name, seqs[-1], len(seqs) - before))
            if done and not room.is_over:
                del self.over[name]
        return cuts, seqs, size

    def _cut_room(
        self, name: str, room: _Room, rule: RoomRule, most: int, end: int, now: int, seqs: list[int]
    ) -> tuple[int, bool]:
        """Adds what goes to `seqs`; the bytes of it, and whether that is all that may go now."""
        too_old = _too_old(rule, now)
        size = last = 0
        for _ in range(most):
            if not room.known and room.messages:
                self._read_on(name, room, last)
            if not room.known:
                return size, not room.messages
            seq, _, stored_at = room.oldest[room.start : room.start + 3]
            if seq > end or not (room.is_over or stored_at < too_old):
                return size, True
            last, gone = room.trim()
            seqs.append(last)
            size += gone
        return size, False

    def _read_on(self, name: str, room: _Room, after: int) -> None:
        """Its oldest, but for what goes in this step and is there still."""
        for _, _, _, oldest in self._read([name]):
            room.oldest = array("q", [number for row in oldest if row[0] > after for number in row])
            room.start = 0

    def _read(self, rooms: Sequence[str]) -> list[tuple[str, int, int, list[tuple[int, int, int]]]]:
        [found] = self._row("load_rooms", {"rooms": to_json(rooms), "most": OLDEST})
        return _rows.decode(found)


def _too_old(rule: RoomRule, now: int) -> int:
    """What was stored before this time (ms) is too old; -1 where nothing is."""
    return -1 if rule.max_age is None else now - int(rule.max_age * 1000)
