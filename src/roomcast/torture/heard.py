"""What one follower heard, over all of its connections, and whether that is all that it had to hear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from roomcast.torture.reader import Event
from roomcast.torture.record import Position, Record


class Gap(NamedTuple):
    """What was told to be lost: of these rooms, between these two."""

    after: int
    before: int
    rooms: frozenset[str]
    at_most: int | None


class Heard:
    """One follower's story."""

    def __init__(self, record: Record, name: str, rooms: Sequence[str]) -> None:
        self.name = name
        self.rooms = rooms
        self.last_id = ""
        """What it resumes with."""
        self.seqs: dict[str, set[int]] = {room: set() for room in rooms}
        self.gaps: list[Gap] = []
        self._record = record
        self._start: int | None = None
        self.position = 0
        """It has heard everything up to here, or that it is gone."""

    def hear(self, event: Event) -> None:
        """One event, as it came."""
        position = Position.parse(event.id)
        if event.name == "gap":
            self._hear_gap(event.data, position)
        elif event.name == "live":
            self._move(event.id, position.seq, strictly=False)
        else:
            self._hear_message(event.data, event.id, position)
        self.last_id = event.id

    def judge(self) -> None:
        """Violates what was neither heard nor named, and what was named and not lost."""
        record = self._record
        if self._start is None:
            record.violate(f"{self.name} never came in")
            return
        missing = {
            room: [seq for seq in record.known(room, self._start, self.position) if seq not in self.seqs[room]]
            for room in self.rooms
        }
        for room, seqs in missing.items():
            for seq in seqs:
                if not any(gap.after < seq < gap.before and room in gap.rooms for gap in self.gaps):
                    record.violate(f"{self.name} never heard {seq} of {room}, and of no gap that names it")
        for gap in self.gaps:
            self._judge_gap(gap, missing)

    def _judge_gap(self, gap: Gap, missing: Mapping[str, Sequence[int]]) -> None:
        within = {room: sum(gap.after < seq < gap.before for seq in missing[room]) for room in gap.rooms}
        where = f"{self.name} was told of a gap from {gap.after} to {gap.before}"
        if gap.at_most is not None and sum(within.values()) > gap.at_most:
            self._record.violate(f"{where} of at most {gap.at_most}, and lost {sum(within.values())}")
        for room, count in within.items():
            if not count and not self._record.unheard(room):
                self._record.violate(f"{where} in {room}, where nothing is lost")

    def _hear_message(self, message: Mapping[str, Any], id: str, position: Position) -> None:
        record = self._record
        if message["id"] != id:
            record.violate(f"{self.name} heard {message['id']} under the id {id}")
        if message["room"] not in self.seqs:
            record.violate(f"{self.name} heard {id} of {message['room']}, which it does not follow")
            return
        self._move(id, position.seq, strictly=True)
        self.seqs[message["room"]].add(record.identify(message))
        record.counts["deliveries"] += 1

    def _hear_gap(self, told: Mapping[str, Any], position: Position) -> None:
        record = self._record
        record.counts["gaps"] += 1
        if told["reason"] != "trimmed" or told["after"] is None:
            record.violate(f"{self.name} was told of a gap with the reason {told['reason']} after {told['after']}")
            return
        if not set(told["rooms"]) <= set(self.rooms):
            record.violate(f"{self.name} was told of a gap in {told['rooms']}, and follows {self.rooms}")
            return
        record.counts["lost at most"] += told["lost_at_most"] or 0
        after = Position.parse(told["after"]).seq
        self.gaps.append(Gap(after, position.seq + 1, frozenset(told["rooms"]), told["lost_at_most"]))
        self._move(str(told["after"]), position.seq, strictly=False)

    def _move(self, id: str, seq: int, *, strictly: bool) -> None:
        if self._start is None:
            self._start = seq - 1 if strictly else seq
        elif seq < self.position + strictly:
            self._record.violate(f"{self.name} heard {id} after {self.position}")
        self.position = max(self.position, seq)
