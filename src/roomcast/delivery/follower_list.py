"""The list of the followers of all workers, in one order, a page at a time.

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
from roomcast.delivery.stream import FollowerDetails, Stream
from roomcast.delivery.streams import Streams
from roomcast.delivery.worker_group import WorkerGroup
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


class FollowerList:
    """The followers of this process and of its peers."""

    def __init__(self, group: WorkerGroup, streams: Streams) -> None:
        self._group = group
        self._streams = streams
        if peers := group.peers:
            peers.when_asked(_PLACES, lambda query: self._places(tuple(query[0]), *query[1:]))
            peers.when_asked(_ROWS, lambda pages: self._rows(pages.get(group.number, ())))

    async def places(self, after: Key, behind: int, limit: int) -> tuple[list[Place], list[int]]:
        """Returns the first `limit` places after the key `after`, of streams that have at least `behind` messages
        yet to pass; and the numbers of the workers that did not answer."""
        found = await self._places(after, behind, limit)
        answers, missing = await self._group.ask_workers(_PLACES, (after, behind, limit))
        told = [Place(*place) for places in answers.values() for place in places]
        return heapq.nsmallest(limit, [*found, *told]), missing

    async def rows(self, page: Sequence[Place]) -> tuple[list[bytes], list[int]]:
        """Returns a `FollowerInfo` as JSON for each stream in `page` that is still there; and the numbers of the
        workers that did not answer."""
        pages: dict[int, list[int]] = {}
        for place in page:
            pages.setdefault(place.worker, []).append(place.number)
        found: dict[int, Mapping[int, bytes]] = {
            self._group.number: await self._rows(pages.pop(self._group.number, ()))
        }
        missing: Collection[int] = ()
        if pages:
            answers, missing = await self._group.ask_workers(_ROWS, pages)
            found |= answers
        rows = [found.get(place.worker, {}).get(place.number) for place in page]
        return [row for row in rows if row], [worker for worker in missing if worker in pages]

    async def _places(self, after: Key, behind: int, limit: int) -> list[Place]:
        places = []
        async for details, stream in self._with_details():
            if self._streams.lag(stream) >= behind:
                size = _ROW_BYTES + sum(map(len, stream.selection.texts()))
                place = Place(details.since, self._group.number, details.number, size)
                if place.key > after:
                    places.append(place)
        return heapq.nsmallest(limit, places)

    async def _rows(self, numbers: Collection[int]) -> dict[int, bytes]:
        wanted = set(numbers)
        rows = {}
        async for details, stream in self._with_details():
            if details.number in wanted:
                rows[details.number] = msgspec.json.encode(self._row(details, stream))
        return rows

    async def _with_details(self) -> AsyncIterator[tuple[FollowerDetails, Stream]]:
        """The streams, in turns with other work: there may be 15,000."""
        turns = tasks.Turns()
        for stream in list(self._streams.active):
            if stream.details and not stream.ended:
                yield stream.details, stream
            await turns.next()

    def _row(self, details: FollowerDetails, stream: Stream) -> FollowerInfo[str]:
        streams, hub = self._streams, self._streams.hub
        position = stream.position if stream in streams.behind else hub.position
        return FollowerInfo(
            worker=self._group.number,
            number=details.number,
            since=rfc3339(details.since),
            rooms=tuple(sorted(stream.selection.rooms)),
            prefixes=tuple(sorted(stream.selection.prefixes)),
            position=str(MessageId(hub.epoch, position)),
            behind=streams.lag(stream),
            waiting=stream.waiting(),
            address=details.address,
            principal=details.principal,
            user_agent=details.agent,
        )
