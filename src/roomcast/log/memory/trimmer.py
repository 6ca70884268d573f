"""Trims the log in memory: by the caps of the whole log, by the rules of rooms, and by age.

Trimming goes in steps, so that no turn of the loop takes long. It never reaches a message that a consumer still
holds back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice

from roomcast.log.clock import now_ms
from roomcast.log.consumers import Consumers
from roomcast.log.memory.content import Content
from roomcast.log.sweep import Sweep
from roomcast.model.message import Cut
from roomcast.model.retention import Retention

TRIM_STEP = 500
"""How many seqs one turn trims, including holes: 5,000 took 9 ms. An append trims one step; the rest follows in
the next turns."""
SWEEP_ROOMS = 500
"""Rooms that one step of a walk looks at."""
NOTHING_CUT: Sequence[Cut] = ()


class MemoryTrimmer:
    """Trims one log, and tells its consumers."""

    def __init__(self, content: Content, consumers: Consumers) -> None:
        self._content = content
        self._consumers = consumers
        self._sweep: Sweep | None = None
        """Made with the first message: the log may be made before there is a loop."""
        self._later: asyncio.Handle | None = None
        """Set while more is to be trimmed in another turn."""
        self._stopped = False
        retention = content.retention
        self.must_begin = bool(retention.rooms) or retention.ages
        """Whether `begin` must be called with the first message: messages may have to be removed although nothing
        more is published."""

    def begin(self) -> None:
        """Begins to walk the rooms. Needs a running loop."""
        self.apply(self._content.retention)

    def apply(self, retention: Retention) -> None:
        """Takes the rules of `retention`, and trims to them in steps. Needs a running loop."""
        self.must_begin = False
        self._content.apply(retention)
        if self._sweep is None:
            self._sweep = Sweep(self._walk)
        self._sweep.apply(self._content.retention)

    def stop(self) -> None:
        """Trims no more."""
        self._stopped = True
        if self._sweep:
            self._sweep.stop()

    def trim(self) -> Sequence[Cut]:
        """Does one step: removes the oldest messages beyond the caps. Returns what the rules of rooms removed; the
        caller tells the consumers."""
        content = self._content
        floor, end = self._consumers.floor, content.newest
        if floor is not None and floor < end:
            end = floor
        cuts = self._trim_rooms(end) if content.over else NOTHING_CUT
        messages = content.messages
        most_messages, most_bytes = content.retention.max_messages, content.retention.max_bytes
        if len(messages) <= most_messages and content.bytes <= most_bytes:
            return cuts
        for seq in range(content.trimmed + 1, min(end, content.trimmed + TRIM_STEP) + 1):
            content.trimmed = seq
            message = messages.pop(seq, None)
            if message is not None:  # otherwise it is a hole
                content.remove_oldest(message)
                if len(messages) <= most_messages and content.bytes <= most_bytes:
                    return cuts
        if content.trimmed < end:
            self._trim_later()
        return cuts

    def trim_and_tell(self) -> None:
        """Like `trim`, but tells the consumers. Does nothing if there is nothing to trim."""
        content = self._content
        if self._stopped or not (content.is_over or content.over):
            return
        before = content.trimmed
        cuts = self.trim()
        if content.trimmed > before or cuts:
            self._consumers.push((), content.trimmed, cuts)

    def _trim_rooms(self, end: int) -> list[Cut]:
        """Trims rooms that are over their rules, until one step of messages is gone."""
        content, cuts, gone = self._content, list[Cut](), 0
        for room in list(content.over):
            cut = self._trim_room(room, end)
            index = content.rooms.get(room)
            if index is None or not index.is_over():
                del content.over[room]
            if cut is not None:
                cuts.append(cut)
                gone += cut.gone
                if gone >= TRIM_STEP:
                    self._trim_later()
                    break
        return cuts

    def _trim_room(self, room: str, end: int) -> Cut | None:
        """Removes the messages that a room has beyond its rule, at most one step of them; None if none."""
        content = self._content
        index, rule = content.rooms.get(room), content.rules.of(room)
        if index is None or rule is None:
            return None
        oldest_at = _oldest_at(rule.max_age)
        gone = seq = 0
        while gone < TRIM_STEP and index:
            oldest = index.oldest
            if oldest > end or not (index.is_over() or content.messages[oldest].stored_at < oldest_at):
                break
            content.remove_oldest(content.messages.pop(oldest))
            gone, seq = gone + 1, oldest
        return Cut(room, seq, gone) if gone else None

    def _walk(self, after: str) -> None:
        """Begins one step of a walk over all rooms."""
        asyncio.get_running_loop().call_soon(self._walk_on, after)

    def _walk_on(self, after: str) -> None:
        if self._stopped or self._sweep is None:
            return
        content, floor = self._content, self._consumers.floor
        end = content.newest if floor is None else min(floor, content.newest)
        max_age = content.retention.max_age
        cuts: list[Cut] = []
        if max_age is not None and self._trim_by_age(end, _oldest_at(max_age)):
            reached: str | None = after  # the next step goes on with the ages
        else:
            reached = self._trim_rooms_after(after, end, cuts)
        self._consumers.push((), content.trimmed, cuts)
        self._sweep.stepped(reached)

    def _trim_rooms_after(self, after: str, end: int, cuts: list[Cut]) -> str | None:
        """Trims one step of the rooms after `after`, and adds to `cuts`. Returns the last room that is done; None
        if there are no more."""
        content, reached, gone = self._content, None, 0
        for room in list(islice(content.listed.walk("", "name", after), SWEEP_ROOMS)):
            cut = self._trim_room(room, end)
            index = content.rooms.get(room)  # an emptied room may be forgotten at once
            if index and index.is_over():  # a consumer holds back the rest until it moves on
                content.over[room] = None
            if cut:
                cuts.append(cut)
                gone += cut.gone
                if cut.gone >= TRIM_STEP:  # the next step goes on with this room
                    return reached or after
            reached = room
            if gone >= TRIM_STEP:
                break
        return reached

    def _trim_by_age(self, end: int, oldest_at: int) -> bool:
        """Removes the messages up to the seq `end` that were stored before `oldest_at`, at most one step of them.
        Returns whether there may be more."""
        content = self._content
        for seq in range(content.trimmed + 1, min(end, content.trimmed + TRIM_STEP) + 1):
            message = content.messages.get(seq)
            if message is not None:
                if message.stored_at >= oldest_at:
                    return False
                del content.messages[seq]
                content.remove_oldest(message)
            content.trimmed = seq
        return content.trimmed < end

    def _trim_later(self) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_soon(self._trim_on)

    def _trim_on(self) -> None:
        self._later = None
        self.trim_and_tell()


def _oldest_at(age: float | None) -> int:
    """Messages stored before this time (ms since 1970) are older than `age` seconds; 0 if there is no age."""
    return 0 if age is None else now_ms() - int(age * 1000)
