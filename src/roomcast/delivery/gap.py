"""Gaps: what a stream tells its client about messages that are lost, and where a stream starts."""

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

MAX_GAP_ROOMS = 64
"""Most rooms that a gap names when a client follows by prefix."""


class PendingGap(NamedTuple):
    """A loss that a stream tells before its next message. The fields are those of the event, without
    `resumes_at`."""

    after: str | None
    rooms: Sequence[str]
    lost_at_most: int | None
    reason: str
    prefixes: Sequence[str] | None = None
    """The prefixes concerned; None for a stream that follows by name. With prefixes, `rooms` is empty if the rooms
    that lost messages are not known."""

    def data(self, resumes_at: MessageId | None) -> bytes:
        """The event's data, as one line of JSON. `resumes_at` is the id of the next message; None if there is none
        yet."""
        next_id = None if resumes_at is None else str(resumes_at)
        prefixes = UNSET if self.prefixes is None else tuple(self.prefixes)
        told = shapes.Gap(self.after, next_id, tuple(self.rooms), self.lost_at_most, self.reason, prefixes)
        return one_line(msgspec.json.encode(told))


class Missing(NamedTuple):
    """A loss of one room that must be told."""

    room: str
    """The room; empty if it may be any room that is followed by prefix."""
    after: int
    """The seq up to which the room is whole; -1 if the client named no position."""
    last: int
    """The seq of the last lost message. The loss is told before the stream passes it."""
    at_most: int
    """How many messages may be lost."""
    deleted: bool
    """Whether all of them were deleted, and none trimmed."""


def gap_of_unusable_id(after: str, selection: Selection, reason: str) -> PendingGap:
    """The gap for a client whose id cannot be used: how much it lost is unknown. `after` is the id as the client
    sent it, `selection` are the rooms that it asked for, and `reason` is one of `GAP_REASONS`."""
    if selection.prefixes:
        return PendingGap(after, [], None, reason, selection.prefixes)
    return PendingGap(after, sorted(selection.rooms), None, reason)


def widened(
    gap: PendingGap | None, epoch: str, missing: Sequence[Missing], prefixes: Sequence[str] = ()
) -> PendingGap | None:
    """Returns `gap` with the losses `missing` added to it; `gap` itself if there are none. `epoch` is the log's,
    `prefixes` are those that the stream follows."""
    if not missing:
        return gap
    reason = "deleted" if all(one.deleted for one in missing) else "trimmed"
    if gap is None:
        after = min(one.after for one in missing)
        gap = PendingGap(
            None if after < 0 else str(MessageId(epoch, after)), [], 0, reason, () if prefixes else None
        )
    elif gap.reason == "deleted":
        gap = gap._replace(reason=reason)
    gap = _named(gap, {one.room for one in missing}, prefixes)
    known = gap.lost_at_most is not None and all(one.room for one in missing)
    return gap._replace(lost_at_most=(gap.lost_at_most or 0) + sum(m.at_most for m in missing) if known else None)


def _named(gap: PendingGap, rooms: set[str], prefixes: Sequence[str]) -> PendingGap:
    """Adds these rooms, and the prefixes that cover them, to those that the gap names."""
    if not prefixes:
        return gap._replace(rooms=sorted(rooms.union(gap.rooms)))
    if "" in rooms or (not gap.rooms and gap.lost_at_most is None):
        return gap._replace(rooms=[], prefixes=prefixes)
    concerned = set(gap.prefixes or ())
    for room in rooms:
        # No prefix begins with another, so at most one of them covers the room.
        concerned.update(prefix for prefix in beginnings(room) if prefix in prefixes)
    return gap._replace(rooms=sorted(rooms.union(gap.rooms))[:MAX_GAP_ROOMS], prefixes=sorted(concerned))


class _RoomState(NamedTuple):
    """The stream's knowledge of one room that has lost messages."""

    after: int
    """The seq up to which the room is whole, as far as the client was told."""
    ever: int = 0
    """How many messages the room had lost up to `after`. These were told, or need not be."""
    sure: bool = True
    """Whether all losses that `ever` does not count are known to lie after `after`. A client whose connection was
    cut during a replay may already have passed some of them."""


class PendingLosses:
    """The losses that a stream still owes its client, from its start on.

    A loss is told as a whole, before the stream passes the last message of it. So a client that was cut in the
    middle of a replay may have passed a part of a room's loss without being told. When it resumes, it is told the
    whole loss. There is one exception: the stream's rooms may retain nothing up to the position at which the
    client resumes. The client is then taken to have passed no part of a loss: all losses that it is owed lie after
    that position.
    """

    __slots__ = ("_deletions", "_position_known", "_rooms", "_start", "_whole", "exact")

    def __init__(self, opening: Opening) -> None:
        self.exact = opening.exact
        """Whether every loss after the start must be told. False until the first page shows which losses happened
        before the stream began: its client is not told those."""
        self._start = opening.position
        self._whole = opening.position
        """The seq up to which all rooms that are not in `_rooms` are whole."""
        self._position_known = opening.position_known
        """Whether the client knows the position at which it starts."""
        self._rooms: dict[str, _RoomState] = {}
        self._deletions = 0
        """The number of the last deletion of a single message that need not be told."""
        if opening.start_page is not None:
            self._forgive(opening.start_page)

    def reach(self, position: int) -> None:
        """Notes that the stream has passed everything up to the seq `position`. Losses up to there were returned
        by `missing`, or are noted in `_rooms`."""
        self._whole, self.exact = position, True

    def missing(self, page: Page) -> list[Missing]:
        """Returns the losses to tell with `page`, ordered by `last`, and notes that the stream has passed the
        page."""
        runs = [loss for loss in page.losses if not loss.number]  # the others are single deletions
        if not self.exact:
            self._forgive(page)
        sure = self._whole != self._start or bool(self._rooms) or self._whole < page.oldest
        left: dict[str, _RoomState] = {}
        found: list[Missing] = []
        for loss in runs:
            room = self._rooms.get(loss.room) or _RoomState(self._whole, loss.passed if sure else 0, sure)
            if loss.last <= page.position and loss.last > room.after:
                found.append(self._run(loss, room))
            if loss.last > page.position:
                left[loss.room] = room
            else:
                left[loss.room] = _RoomState(page.position, loss.ever)
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
        """Notes the losses of a page that are not told, since they happened before the stream began."""
        self._rooms = {loss.room: _RoomState(loss.last, loss.ever) for loss in page.losses if not loss.number}
        self._deletions = page.deletions

    def _run(self, loss: Loss, room: _RoomState) -> Missing:
        at_most = max(1, loss.ever - room.ever)
        if room.sure:
            at_most = min(at_most, loss.last - room.after)
        return Missing(loss.room, self._after(room.after), loss.last, at_most, room.after >= loss.after)

    def _after(self, position: int) -> int:
        return position if self._position_known or position > self._start else -1


class Opening(NamedTuple):
    """Where a stream starts."""

    position: int
    gap: PendingGap | None = None
    exact: bool = True
    """Whether messages lost right after `position` must be reported as a gap (true for a resume, false for
    `replay=all`)."""
    position_known: bool = True
    """Whether the client knows `position`. It does not if it asked for a time."""
    start_page: Page | None = None
    """The page with which `position` was found. Losses that it names are not told: they happened before."""
    epoch: str | None = None
    """The epoch that `position` belongs to; None if the stream begins in the turn of the loop that found it."""
