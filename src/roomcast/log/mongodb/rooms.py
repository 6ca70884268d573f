"""Remembers of each room its newest message, and how many messages it ever had. No I/O.

Rooms without messages are remembered, too, so that their followers get no false alarm. If there are more than
`empty_rooms` of them, those that have been empty for longest are forgotten, and a watermark stands for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, takewhile

from roomcast.log.base import RoomSort
from roomcast.log.mongodb.documents import AppendDocument
from roomcast.log.register import Register
from roomcast.log.room_list import RoomList
from roomcast.log.trimming import Trimming, watermark


class KnownRooms:
    """The newest message of each room, as a `Trimming`: `seq` and `at` of that message, and in `lost` how many
    messages the room ever had. That is how far the room will be trimmed once all its messages are gone."""

    def __init__(
        self, known: Iterable[tuple[str, Trimming]], forgotten: Trimming, empty_rooms: int, register: Register
    ) -> None:
        """`known`: the rooms to begin with. `forgotten`: the trimming to assume for other rooms. `empty_rooms`:
        how many rooms without messages are remembered. `register`: will list the messages that are noted from now
        on."""
        self._known = dict(sorted(known, key=lambda row: row[1].seq))
        """In the order of their newest messages."""
        self._listed = RoomList()
        for room, newest in self._known.items():
            self._listed.note(room, newest.seq)
        self._empty_rooms = empty_rooms
        self.forgotten = forgotten
        """The trimming to assume for a room that is not known."""
        self._changed: set[str] = set()
        """The rooms that are not saved yet."""
        self._register = register
        """The messages of each room, as far as this process has seen them."""

    def newest_of(self, room: str) -> Trimming:
        """The newest message of `room`; `forgotten` if the room is not known."""
        return self._known.get(room, self.forgotten)

    def note(self, entry: AppendDocument) -> None:
        """Adds the messages of `entry`, the next document. The state of the rooms before it comes from its own
        fields, not from this table."""
        for message, before in zip(entry.messages, entry.rooms_before, strict=True):
            self._known.pop(message.room, None)
            self._known[message.room] = Trimming(message.seq, message.stored_at, before.lost + 1)
            self._listed.note(message.room, message.seq)
            self._changed.add(message.room)
            self._register.note(message.room, (message.seq,))
        self._register.reached(entry.last)

    def note_hole(self, last: int) -> None:
        """Notes that messages up to the seq `last` are missing although they were not trimmed: any room may have
        had them, so `between` counts all up to there."""
        self._register.begin(last)

    def forget(self, trimmed: int) -> None:
        """Forgets the rooms that have been empty for longest, if more than `empty_rooms` are empty. Empty are
        rooms without messages after the seq `trimmed`."""
        empty = list(takewhile(lambda row: row[1].seq <= trimmed, self._known.items()))
        for room, newest in empty[: max(0, len(empty) - self._empty_rooms)]:
            del self._known[room]
            self._listed.drop(room)
            self._changed.discard(room)
            # A process that lags behind may have saved a room again that is already forgotten.
            if newest.seq > self.forgotten.seq:
                self.forgotten = watermark(newest.seq, newest.at)

    def forget_all(self, trimmed: int, at: int) -> None:
        """Forgets all rooms. All messages up to the seq `trimmed` are gone, and this process never saw some of
        them: any room may have had one of those. `at`: an upper bound for their times, in ms since 1970."""
        self._known.clear()
        self._listed.clear()
        self._changed.clear()
        self.forgotten = watermark(trimmed, at)
        self._register.begin(trimmed)

    def between(self, room: str, after: int, last: int) -> int:
        """An upper bound for the messages that `room` had with `after` < seq <= `last`."""
        if room not in self._known:
            return last
        return self._register.between(room, after, last)

    def page(
        self, prefix: str, sort: RoomSort, after: str | int | None, limit: int, trimmed: int
    ) -> dict[str, Trimming]:
        """The first `limit` rooms whose names begin with `prefix`, in the order of `sort`, and after the room or
        seq `after` in that order. Leaves out rooms without messages after the seq `trimmed`."""
        listed = ((room, self._known[room]) for room in self._listed.walk(prefix, sort, after))
        if sort == "newest":
            listed = takewhile(lambda row: row[1].seq > trimmed, listed)  # type: ignore[assignment]
        return dict(islice((row for row in listed if row[1].seq > trimmed), limit))

    def matching(self, prefixes: Sequence[str], after: int) -> Iterator[str]:
        """The rooms whose names begin with one of `prefixes` and whose newest message comes after the seq `after`,
        trimmed or not."""
        names = chain.from_iterable(self._listed.walk(prefix, "name", None) for prefix in prefixes)
        return (room for room in names if self._known[room].seq > after)

    def changed(self) -> dict[str, Trimming]:
        """The rooms that have changed since they were saved, to be passed to `note_saved` once they are."""
        return {room: self._known[room] for room in self._changed}

    def note_saved(self, rooms: dict[str, Trimming]) -> None:
        """Notes that `rooms` were saved with these values."""
        self._changed -= {room for room, newest in rooms.items() if self._known.get(room, newest) == newest}
