"""The roll: the followers of all workers, in one order, a page at a time.

The other workers are asked twice: for the places of their streams in the order, then for the rows of those on the
page. So a page never needs more rows than it shows, and their size is known before they come. A worker that does
not answer is named, and its streams are left out.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from roomcast import tasks
from roomcast.delivery.stream import Stream, Visit
from roomcast.delivery.streams import Streams
from roomcast.delivery.together import Together
from roomcast.model.message import MessageId, rfc3339
from roomcast.model.shapes import FollowerInfo

_ROW_BYTES = 700
"""Bytes that a row takes in memory and in the answer, without the names of its rooms."""
_PLACES, _ROWS = "follower places", "follower rows"
"""The topics of the two questions."""

Key = tuple[int, int, int]
"""A stream's place in the order: when it began (ms since 1970), its worker, and its number there. A key never
changes, so a stream that lasts is on exactly one page."""


class Place(NamedTuple):
    """A stream's place in the order."""

    since: int
    worker: int
    number: int
    size: int
    """About how many bytes its row takes."""

    @property
    def key(self) -> Key:
        """Its key in the order."""
        return self.since, self.worker, self.number


class Roll:
    """The followers of this process and of its peers."""

    def __init__(self, together: Together, streams: Streams) -> None:
        self._together = together
        self._streams = streams
        if peers := together.peers:
            peers.when_asked(_PLACES, lambda asked: self._places(tuple(asked[0]), *asked[1:]))
            peers.when_asked(_ROWS, lambda pages: self._rows(pages.get(together.number, ())))

    async def places(self, after: Key, behind: int, most: int) -> tuple[list[Place], list[int]]:
        """Returns the first `most` places after the key `after`, of streams that have at least `behind` messages
        yet to pass; and the numbers of the workers that did not answer."""
        found = await self._places(after, behind, most)
        answers, missing = await self._together.ask_workers(_PLACES, (after, behind, most))
        told = [Place(*place) for places in answers.values() for place in places]
        return heapq.nsmallest(most, [*found, *told]), missing

    async def rows(self, page: Sequence[Place]) -> tuple[list[bytes], list[int]]:
        """Returns a `FollowerInfo` as JSON for each of these streams that is still there; and the numbers of the
        workers that did not answer."""
        pages: dict[int, list[int]] = {}
        for place in page:
            pages.setdefault(place.worker, []).append(place.number)
        found: dict[int, Mapping[int, bytes]] = {
            self._together.number: await self._rows(pages.pop(self._together.number, ()))
        }
        missing: Collection[int] = ()
        if pages:
            answers, missing = await self._together.ask_workers(_ROWS, pages)
            found |= answers
        rows = [found.get(place.worker, {}).get(place.number) for place in page]
        return [row for row in rows if row], [worker for worker in missing if worker in pages]

    async def _places(self, after: Key, behind: int, most: int) -> list[Place]:
        places = []
        async for visit, stream in self._visits():
            if self._streams.lag(stream) >= behind:
                size = _ROW_BYTES + sum(map(len, stream.selection.texts()))
                place = Place(visit.since, self._together.number, visit.number, size)
                if place.key > after:
                    places.append(place)
        return heapq.nsmallest(most, places)

    async def _rows(self, numbers: Collection[int]) -> dict[int, bytes]:
        wanted = set(numbers)
        rows = {}
        async for visit, stream in self._visits():
            if visit.number in wanted:
                rows[visit.number] = msgspec.json.encode(self._row(visit, stream))
        return rows

    async def _visits(self) -> AsyncIterator[tuple[Visit, Stream]]:
        """The streams, in turns with other work: there may be 15,000."""
        turns = tasks.Turns()
        for stream in list(self._streams.active):
            if stream.visit and not stream.ended:
                yield stream.visit, stream
            await turns.next()

    def _row(self, visit: Visit, stream: Stream) -> FollowerInfo[str]:
        streams, hub = self._streams, self._streams.hub
        position = stream.position if stream in streams.behind else hub.position
        return FollowerInfo(
            worker=self._together.number,
            number=visit.number,
            since=rfc3339(visit.since),
            rooms=tuple(sorted(stream.selection.rooms)),
            prefixes=tuple(sorted(stream.selection.prefixes)),
            position=str(MessageId(hub.epoch, position)),
            behind=streams.lag(stream),
            waiting=stream.waiting(),
            address=visit.address,
            principal=visit.principal,
            user_agent=visit.agent,
        )
