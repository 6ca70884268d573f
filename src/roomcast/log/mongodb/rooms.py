"""What is known of each room: its newest message, when that came, and how many it ever had. No I/O.

Rooms without messages are remembered, too, so that their followers hear no false alarm; of more than `empty_rooms`
those that are empty for longest are forgotten, and a watermark stands for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, takewhile

from roomcast.log.base import RoomSort
from roomcast.log.mongodb.documents import Entry
from roomcast.log.register import Register
from roomcast.log.room_list import RoomList
from roomcast.log.trimming import Trimmed, watermark

NOTHING = Trimmed(0, 0, 0)


class Rooms:
    """Each room as if all of it were trimmed by now: `seq`, `at` of its newest, `lost` as many as there were."""

    def __init__(
        self, known: Iterable[tuple[str, Trimmed]], forgotten: Trimmed, empty_rooms: int, register: Register
    ) -> None:
        """`register` holds the messages after the known ones."""
        self._known = dict(sorted(known, key=lambda row: row[1].seq))
        """In the order of their newest."""
        self._listed = RoomList()
        for room, newest in self._known.items():
            self._listed.note(room, newest.seq)
        self._empty_rooms = empty_rooms
        self.forgotten = forgotten
        """What must be taken for a room that is not known."""
        self._changed: set[str] = set()
        self._register = register
        """Which messages each room had, as far as this process has seen them."""

    def newest_of(self, room: str) -> Trimmed:
        return self._known.get(room, self.forgotten)

    def note(self, entry: Entry) -> None:
        """What is in the log from now on. The document's word on what was before counts, not ours."""
        for message, before in zip(entry.messages, entry.before, strict=True):
            self._known.pop(message.room, None)
            self._known[message.room] = Trimmed(message.seq, message.stored_at, before.lost + 1)
            self._listed.note(message.room, message.seq)
            self._changed.add(message.room)
            self._register.note(message.room, (message.seq,))
        self._register.reached(entry.last)

    def forget(self, trimmed: int) -> bool:
        """Lets go of the rooms beyond `empty_rooms` that are empty for longest; whether there were any."""
        empty = list(takewhile(lambda row: row[1].seq <= trimmed, self._known.items()))
        for room, newest in empty[: max(0, len(empty) - self._empty_rooms)]:
            del self._known[room]
            self._listed.drop(room)
            self._changed.discard(room)
            self.forgotten = watermark(newest.seq, newest.at)
        return len(empty) > self._empty_rooms

    def lose(self, trimmed: int, at: int) -> None:
        """All up to here is trimmed, and some of it was never seen: any room may have had a message there."""
        self._known.clear()
        self._listed.clear()
        self._changed.clear()
        self.forgotten = watermark(trimmed, at)
        self._register.begin(trimmed)

    def between(self, room: str, after: int, last: int) -> int:
        """How many messages a room had after `after` and up to `last`, at most."""
        if room not in self._known:
            return last
        return self._register.between(room, after, last)

    def page(
        self, prefix: str, sort: RoomSort, after: str | int | None, limit: int, trimmed: int
    ) -> dict[str, Trimmed]:
        """The first of the rooms that have messages newer than `trimmed`, in that order."""
        listed = ((room, self._known[room]) for room in self._listed.walk(prefix, sort, after))
        if sort == "newest":
            listed = takewhile(lambda row: row[1].seq > trimmed, listed)  # type: ignore[assignment]
        return dict(islice((row for row in listed if row[1].seq > trimmed), limit))

    def begun(self, prefixes: Sequence[str], after: int) -> Iterator[str]:
        """The rooms whose names begin with one of these, and that have had messages after a position."""
        names = chain.from_iterable(self._listed.walk(prefix, "name", None) for prefix in prefixes)
        return (room for room in names if self._known[room].seq > after)

    def changed(self) -> dict[str, Trimmed]:
        """The rooms to be written down."""
        return {room: self._known[room] for room in self._changed}

    def written(self, rooms: dict[str, Trimmed]) -> None:
        """They are, as they were then."""
        self._changed -= {room for room, newest in rooms.items() if self._known.get(room, newest) == newest}
