"""Where a stream starts, and what it must tell of messages that are no longer there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from roomcast.log.base import Loss, Page
from roomcast.model import shapes
from roomcast.model.json_text import one_line
from roomcast.model.message import MessageId
from roomcast.model.rooms import Selection, beginnings

MOST_ROOMS = 64
"""Rooms that a gap names."""


class Gap(NamedTuple):
    """What a stream must tell before its next message."""

    after: str | None
    rooms: Sequence[str]
    lost_at_most: int | None
    reason: str
    prefixes: Sequence[str] | None = None
    """Those concerned of a stream that follows by prefix. `rooms` is then empty where any room may be."""

    def data(self, resumes_at: MessageId | None) -> bytes:
        """The gap as its reader sees it."""
        next_id = None if resumes_at is None else str(resumes_at)
        prefixes = UNSET if self.prefixes is None else tuple(self.prefixes)
        told = shapes.Gap(self.after, next_id, tuple(self.rooms), self.lost_at_most, self.reason, prefixes)
        return one_line(msgspec.json.encode(told))


class Missing(NamedTuple):
    """What one room lost, as it is told."""

    room: str
    """Empty: any of those that are followed by prefix."""
    after: int
    """Up to here the room is whole; -1 where the client named no position."""
    last: int
    """The seq of the last one lost: it is told before the stream passes that."""
    at_most: int
    deleted: bool
    """Whether all of it was deleted, and nothing trimmed."""


def unknown(after: str, selection: Selection, reason: str) -> Gap:
    """The gap of a client whose id says nothing here."""
    if selection.prefixes:
        return Gap(after, [], None, reason, selection.prefixes)
    return Gap(after, sorted(selection.rooms), None, reason)


def widened(gap: Gap | None, epoch: str, missing: Sequence[Missing], prefixes: Sequence[str] = ()) -> Gap | None:
    """The gap with what is missing added to it; None where nothing is. `prefixes`: those that are followed."""
    if not missing:
        return gap
    reason = "deleted" if all(one.deleted for one in missing) else "trimmed"
    if gap is None:
        after = min(one.after for one in missing)
        gap = Gap(None if after < 0 else str(MessageId(epoch, after)), [], 0, reason, () if prefixes else None)
    elif gap.reason == "deleted":
        gap = gap._replace(reason=reason)
    gap = _named(gap, {one.room for one in missing}, prefixes)
    known = gap.lost_at_most is not None and all(one.room for one in missing)
    return gap._replace(lost_at_most=(gap.lost_at_most or 0) + sum(m.at_most for m in missing) if known else None)


def _named(gap: Gap, rooms: set[str], prefixes: Sequence[str]) -> Gap:
    """The gap with these rooms among those it names, and with the prefixes that they are followed by."""
    if not prefixes:
        return gap._replace(rooms=sorted(rooms.union(gap.rooms)))
    if "" in rooms or (not gap.rooms and gap.lost_at_most is None):
        return gap._replace(rooms=[], prefixes=prefixes)
    concerned = set(gap.prefixes or ())
    for room in rooms:
        # Of prefixes of which none begins with another, one at most covers it.
        concerned.update(prefix for prefix in beginnings(room) if prefix in prefixes)
    return gap._replace(rooms=sorted(rooms.union(gap.rooms))[:MOST_ROOMS], prefixes=sorted(concerned))


class _Room(NamedTuple):
    """Where one room is not whole up to where the stream is, or lost something before."""

    after: int
    """Up to here it is whole."""
    ever: int = 0
    """How many it had lost by then that are told, or are not to be."""
    sure: bool = True
    """Whether all that was lost behind `after` lies there, whatever the client was cut off from before."""


class Owed:
    """What a stream must tell of what is lost, from where it began on.

    A loss is told as a whole, before the stream passes its last message. A client that was cut in the middle of
    a replay may therefore have passed some of what another room lost and not have been told: it is told of all of
    that. It cannot have been cut so where nothing is retained of its rooms up to the position at which it begins;
    what it lost lies behind that position then.
    """

    __slots__ = ("_deletions", "_named", "_rooms", "_start", "_whole", "exact")

    def __init__(self, position: int, *, exact: bool, named: bool = True, before: Page | None = None) -> None:
        self.exact = exact
        """Whether all that is lost after `position` is told; False until it is known what was lost when the stream
        began."""
        self._start = position
        self._whole = position
        """Up to here all rooms are whole that are not among `_rooms`."""
        self._named = named
        """Whether a client can know where it began."""
        self._rooms: dict[str, _Room] = {}
        self._deletions = 0
        """The last deletion of a single message that is not told."""
        if before is not None:
            self._forgive(before)

    def reach(self, position: int) -> None:
        """The stream has passed all up to here, and nothing of it was missing."""
        self._whole, self.exact = position, True

    def missing(self, page: Page) -> list[Missing]:
        """What of a page must be told, in the order in which the stream passes it; it has passed the page then."""
        runs = [loss for loss in page.losses if not loss.number]
        if not self.exact:
            self._forgive(page)
        sure = self._whole != self._start or bool(self._rooms) or self._whole < page.oldest
        left: dict[str, _Room] = {}
        found: list[Missing] = []
        for loss in runs:
            room = self._rooms.get(loss.room) or _Room(self._whole, loss.passed if sure else 0, sure)
            if loss.last <= page.position and loss.last > room.after:
                found.append(self._run(loss, room))
            if loss.last > page.position:
                left[loss.room] = room
            else:
                left[loss.room] = _Room(page.position, loss.ever)
        told: dict[str, int] = {}
        for loss in sorted(page.losses, key=lambda one: one.last):
            if loss.number > self._deletions and loss.last <= page.position:
                after = self._after(told.get(loss.room, self._whole))
                found.append(Missing(loss.room, after, loss.last, 1, deleted=True))
                told[loss.room] = loss.last
        self._rooms = left
        self.reach(page.position)
        return sorted(found, key=lambda one: one.last)

    def _forgive(self, page: Page) -> None:
        """What is lost behind its beginning by now is not told: it was lost before the stream began."""
        self._rooms = {loss.room: _Room(loss.last, loss.ever) for loss in page.losses if not loss.number}
        self._deletions = page.deletions

    def _run(self, loss: Loss, room: _Room) -> Missing:
        at_most = max(1, loss.ever - room.ever)
        if room.sure:
            at_most = min(at_most, loss.last - room.after)
        return Missing(loss.room, self._after(room.after), loss.last, at_most, room.after >= loss.after)

    def _after(self, position: int) -> int:
        return position if self._named or position > self._start else -1


class Opening(NamedTuple):
    """Where a stream starts."""

    position: int
    gap: Gap | None = None
    exact: bool = True
    """Whether messages lost right after `position` must be reported as a gap (true for a resume, false for
    `replay=all`)."""
    named: bool = True
    """Whether a client knows `position`: not where it named a time."""
    before: Page | None = None
    """From when `position` was found: what was lost behind it by then is told to nobody."""
    epoch: str | None = None
    """The history that `position` counts in; None where the stream begins in the turn in which it was found."""
