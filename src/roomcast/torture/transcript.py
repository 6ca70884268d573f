"""Everything that one follower heard over all its connections, and whether that is everything it had to hear."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from roomcast.torture.reader import Event
from roomcast.torture.record import Position, Record

END = "roomcast.end"
"""The last event of a stream that the server ends because its reader's right has ended, or because another stream
of the same ticket replaces it."""

_REASONS = ("trimmed", "deleted")


class ReportedGap(NamedTuple):
    """A gap that the server reported: messages of these rooms between two seqs may be lost."""

    after: int
    before: int
    rooms: frozenset[str]
    at_most: int | None
    reason: str = "trimmed"

    def within(self, seqs: Sequence[int]) -> Sequence[int]:
        """Returns those of the sorted `seqs` that lie in the gap."""
        return seqs[bisect_right(seqs, self.after) : bisect_left(seqs, self.before)]


class Transcript:
    """The events that one follower heard. `hear` raises `KeyError`, `TypeError` or `ValueError` for a bad one."""

    def __init__(self, record: Record, name: str, rooms: Sequence[str], last_id: str = "") -> None:
        self.name = name
        self.rooms = rooms
        self.last_id = last_id
        """The id that it resumes with."""
        self.seqs = {room: array("q") for room in rooms}
        self.gaps: list[ReportedGap] = []
        self._record = record
        self.position = Position.parse(last_id).seq if last_id else 0
        """The seq up to which it has heard everything, or was told that it is gone."""
        self._start = self.position if last_id else None
        self._began_without_id = not last_id
        """Whether it began without an id. It then need not be told of messages that were deleted before it got to
        them."""
        self._timestamp = ""
        self.begin()

    def begin(self) -> None:
        """Notes that a new connection is made."""
        self._first = True
        self._replayed: int | None = 0
        """Messages heard over this connection; None once it is live."""
        self._resumes_at: str | None = None
        """The id that must come next; None if any may."""

    @property
    def joined(self) -> bool:
        """Whether it has a position after which it must hear everything."""
        return self._start is not None

    def hear(self, event: Event) -> None:
        """Takes the next `event`."""
        position = Position.parse(event.id)
        if not self._record.same_epoch(position):
            return
        if event.name == END:
            self._move(event.id, position.seq, strictly=False)
            self.last_id = event.id
            return
        if self._resumes_at not in (None, event.id):
            self._violate(f"heard {event.id} after a gap that ends at {self._resumes_at}")
        self._resumes_at = None
        if event.name == "gap":
            self._hear_gap(event.data, position)
        elif event.name == "live":
            self._hear_live(event.data, event.id, position)
        else:
            self._hear_message(event.data, event.id, position)
        self.last_id = event.id
        self._first = False

    def judge(self) -> None:
        """Records a violation for each message that was neither heard nor named in a gap, and for each false
        gap."""
        if self._start is None:
            if not self._record.epoch_changed:  # otherwise it may have joined another log
                self._violate("never got a position to start from")
            return
        missing = {room: self._missing(room, self._start) for room in self.rooms}
        for room, seqs in missing.items():
            named = {seq for gap in self.gaps if room in gap.rooms for seq in gap.within(seqs)}
            for seq in seqs:
                if seq not in named and not (self._began_without_id and seq in self._record.deleting):
                    self._violate(f"never heard {seq} of {room}, and of no gap that names it")
        told: set[int] = set()
        for gap in self.gaps:
            self._judge_gap(gap, missing, told)

    def judge_deleted(self, room: str) -> None:
        """Records a violation for each message of `room` that it heard although it was deleted."""
        for seq in self.seqs[room]:
            if seq in self._record.deleted:
                self._violate(f"has {seq} of {room}, which was deleted")

    def judge_retained(self, room: str, seqs: Sequence[int]) -> None:
        """Records a violation for each gap in `room` that names one of `seqs`, which are retained at the end. A
        gap around a deleted message is no violation, as its neighbours are retained."""
        deleting = sorted(self._record.deleting)
        for gap in self.gaps:
            if room in gap.rooms and not gap.within(deleting) and (there := gap.within(seqs)):
                self._violate(f"was told of a gap from {gap.after} to {gap.before}, and {there[0]} is still there")

    def _missing(self, room: str, start: int) -> Sequence[int]:
        heard = set(self.seqs[room])
        return [seq for seq in self._record.known(room, start, self.position) if seq not in heard]

    def _judge_gap(self, gap: ReportedGap, missing: Mapping[str, Sequence[int]], told: set[int]) -> None:
        """`told` are the seqs that earlier gaps have named, since a gap may reach back over them."""
        lost = {room: len(gap.within(missing[room])) for room in gap.rooms}
        new = {seq for room in gap.rooms for seq in gap.within(missing[room])} - told
        told |= new
        where = f"was told of a gap from {gap.after} to {gap.before}"
        if gap.at_most is not None and len(new) > gap.at_most:
            self._violate(f"{where} of at most {gap.at_most}, and lost {len(new)}")
        if gap.at_most is not None and gap.at_most > len(gap.rooms) * (gap.before - gap.after - 1):
            self._violate(f"{where} of at most {gap.at_most}, which is more than there can be")
        if gap.reason == "deleted":
            kept = sorted(new - self._record.deleting)
            if kept:
                self._violate(f"{where} of what was deleted, and nobody has deleted {kept[0]}")
        for room, count in lost.items():
            if not count and not self._record.unheard(room, gap.before):
                self._violate(f"{where} in {room}, where nothing is lost")

    def _hear_message(self, message: Mapping[str, Any], id: str, position: Position) -> None:
        if message["id"] != id:
            self._violate(f"heard {message['id']} under the id {id}")
        if message["room"] not in self.seqs:
            self._violate(f"heard {id} of {message['room']}, which it does not follow")
            return
        self._move(id, position.seq, strictly=True)
        insort(self.seqs[message["room"]], self._record.identify(message))
        if message["timestamp"] < self._timestamp:
            self._violate(f"heard {id} of {message['timestamp']} after {self._timestamp}")
        self._timestamp = message["timestamp"]
        self._record.counts["deliveries"] += 1
        if self._replayed is not None:
            self._replayed += 1

    def _hear_live(self, told: Mapping[str, Any], id: str, position: Position) -> None:
        if self._replayed is None:
            self._violate(f"was told a second time that it is live, at {id}")
        elif told["replayed"] != self._replayed:
            self._violate(f"heard {self._replayed} messages, and then that {told['replayed']} were replayed")
        self._replayed = None
        self._move(id, position.seq, strictly=False)

    def _hear_gap(self, told: Mapping[str, Any], position: Position) -> None:
        self._record.counts["gaps"] += 1
        if told["reason"] not in _REASONS or told["after"] is None:
            self._violate(f"was told of a gap with the reason {told['reason']} after {told['after']}")
            return
        rooms = told["rooms"]
        if not rooms and told.get("prefixes") and told["lost_at_most"] is None:
            rooms = self.rooms  # it may be any of those that are followed by prefix
        if not rooms or not set(rooms) <= set(self.rooms):
            self._violate(f"was told of a gap in {rooms}, and follows {self.rooms}")
            return
        after = Position.parse(told["after"]).seq
        self._check_ends(told, after, position)
        self._record.counts["lost at most"] += told["lost_at_most"] or 0
        gap = ReportedGap(after, position.seq + 1, frozenset(rooms), told["lost_at_most"], told["reason"])
        self.gaps.append(gap)
        self._move(str(told["after"]), position.seq, strictly=False)

    def _check_ends(self, told: Mapping[str, Any], after: int, position: Position) -> None:
        self._resumes_at = told["resumes_at"]
        if self._resumes_at and Position.parse(self._resumes_at).seq != position.seq + 1:
            self._violate(f"was told of a gap up to {self._resumes_at} under the id {position.seq}")
        if self._first and self.last_id and told["after"] != self.last_id:
            self._violate(f"resumed after {self.last_id}, and was told of a gap after {told['after']}")
        elif after > position.seq:
            self._violate(f"was told of a gap after {after} that ends at {position.seq}")

    def _move(self, id: str, seq: int, *, strictly: bool) -> None:
        if self._start is None:
            self._start = seq - 1 if strictly else seq
        elif seq < self.position + strictly:
            self._violate(f"heard {id} after {self.position}")
        self.position = max(self.position, seq)

    def _violate(self, what: str) -> None:
        self._record.violate(f"{self.name} {what}")


def page_events(page: Mapping[str, Any]) -> Iterable[Event]:
    """Yields the events of a stream that would say the same as this `page` of history: its gap comes before the
    message that it resumes at."""
    position = Position.parse(page["position"])
    gap = page["gap"]
    if gap and gap["resumes_at"]:
        resumes_at = Position.parse(gap["resumes_at"])
        position = resumes_at._replace(seq=resumes_at.seq - 1)
    for message in page["messages"]:
        if gap and Position.parse(message["id"]).seq > position.seq:
            yield Event("gap", f"{position.epoch}-{position.seq}", gap)
            gap = None
        yield Event("message", message["id"], message)
    if gap:
        yield Event("gap", f"{position.epoch}-{position.seq}", gap)
