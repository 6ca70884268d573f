"""The messages of the log in memory, by seq and by room. No I/O; knows no consumers."""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.log.base import RoomStats
from roomcast.log.memory.keys import MemoryKeys
from roomcast.log.memory.room_index import RoomIndex
from roomcast.log.room_list import RoomList
from roomcast.log.trimming import Trimming, watermark
from roomcast.model.message import Cut, Message
from roomcast.model.retention import NO_CAP, Retention, RoomRules


class Content:
    """All messages with an index of each room. Stores and removes them; decides nothing about trimming."""

    def __init__(self, retention: Retention, empty_rooms: int) -> None:
        """`retention` has the caps and rules. `empty_rooms`: how many rooms without messages are remembered."""
        self.retention = retention
        self.rules = RoomRules(retention.rooms)
        self._ruled = bool(retention.rooms)
        """Whether rooms have rules. An attribute, as it is read for each message."""
        self._weighs = self.rules.least_bytes < NO_CAP
        """Whether any rule limits, or ever limited, bytes. If so, each room's bytes are counted."""
        self._empty_rooms = empty_rooms
        self.messages: dict[int, Message] = {}
        """The retained messages by seq, in its order; deleted ones without type and body."""
        self.rooms: dict[str, RoomIndex] = {}
        self.listed = RoomList()
        """The rooms that have messages."""
        self._empty: dict[str, None] = {}
        """The remembered rooms without messages; the room that has been empty for longest comes first."""
        self.forgotten = Trimming(0, 0, 0)
        """The trimming to assume for a room that is not in `rooms`."""
        self.over: dict[str, None] = {}
        """Rooms that may have more than their rules allow."""
        self.keys = MemoryKeys()
        self.newest = 0
        self.newest_at = 0
        self.trimmed = 0
        """How far the whole log is trimmed."""
        self.bytes = 0
        self.deletions = 0
        self.last_gone = 0
        """All messages after this one are retained, except single ones that were deleted."""
        self.deleted_in: dict[str, None] = {}
        """Rooms in which single messages were deleted that may not be trimmed yet."""

    @property
    def is_over(self) -> bool:
        """Whether there is more than the caps of the whole log allow."""
        return len(self.messages) > self.retention.max_messages or self.bytes > self.retention.max_bytes

    @property
    def oldest_at(self) -> int:
        """When the oldest message was stored, in ms since 1970; 0 if there is none."""
        oldest = next(iter(self.messages.values()), None)
        return oldest.stored_at if oldest else 0

    def is_deleted(self, message: Message) -> bool:
        """Whether `message`, which is retained, is only an empty row, because it was deleted."""
        return message.seq in self.rooms[message.room].deleted

    def newest_of(self, room: str) -> int:
        """The seq of the newest message of `room`; for a forgotten room an upper bound."""
        index = self.rooms.get(room)
        return self.forgotten.seq if index is None else index.newest

    def stats(self, room: str) -> RoomStats:
        """The statistics of `room`, which must have messages."""
        index = self.rooms[room]
        oldest_at = self.messages[index.oldest].stored_at if self.rules else 0
        return RoomStats(room, len(index), index.newest, index.newest_at, oldest_at)

    def store(self, messages: Sequence[Message]) -> None:
        """Stores `messages`, at least one, that follow the newest."""
        ruled, weighs, size = self._ruled, self._weighs, 0
        for message in messages:
            index = self.rooms.get(message.room)
            if not index:  # the room has no messages, or is not even known
                self._empty.pop(message.room, None)
                if index is None:
                    index = self._new_room(message.room)
            length = len(message.body)
            size += length
            index.add(message)
            if weighs:
                index.bytes += length
            # Written out, as a call for each message would cost too much.
            if ruled and (len(index.seqs) > index.limit or index.bytes > index.max_bytes) and index.is_over():
                self.over[message.room] = None
            self.listed.note(message.room, message.seq)
            self.messages[message.seq] = message
        self.bytes += size
        self.newest, self.newest_at = message.seq, message.stored_at

    def remove_oldest(self, message: Message) -> None:
        """Removes `message`, the oldest of its room. It must be gone from `messages` already."""
        size = len(message.body)
        self.last_gone = max(self.last_gone, message.seq)
        self.bytes -= size
        if self.keys.by_seq:
            self.keys.drop(message.seq)
        index = self.rooms[message.room]
        if self._weighs:
            index.bytes -= size
        if index.trim(message):
            self._note_empty(message.room)

    def delete(self, message: Message) -> Cut:
        """Deletes `message`, which is retained; an empty row stays in its place."""
        self.deletions += 1
        index = self.rooms[message.room]
        index.deleted[message.seq] = self.deletions
        self.deleted_in[message.room] = None
        if self._weighs:
            index.bytes -= len(message.body)
        self.bytes -= len(message.body)
        self.messages[message.seq] = message._replace(type=None, body=b"")
        return Cut(message.room, message.seq, 1)

    def delete_room(self, room: str) -> Cut | None:
        """Deletes all messages of `room`; None if it has none."""
        index = self.rooms.get(room)
        if not index:
            return None
        cut = Cut(room, index.newest, len(index))
        self.last_gone = max(self.last_gone, index.newest)
        for seq in index.all():
            self.bytes -= len(self.messages.pop(seq).body)
            self.keys.drop(seq)
        index.clear()
        self._note_empty(room)
        return cut

    def apply(self, retention: Retention) -> None:
        """Takes the rules for rooms and the age of `retention`; the caps of the whole log stay. Removes
        nothing."""
        self.retention = self.retention._replace(rooms=retention.rooms, max_age=retention.max_age)
        self.rules = RoomRules(retention.rooms)
        self._ruled = bool(retention.rooms)
        if self.rules.least_bytes < NO_CAP and not self._weighs:  # once begun, counting never stops
            self._weighs = True
            for index in self.rooms.values():
                index.bytes = sum(len(self.messages[seq].body) for seq in index.all())
        for room, index in self.rooms.items():
            index.apply(self.rules.of(room))

    def _new_room(self, room: str) -> RoomIndex:
        index = self.rooms[room] = RoomIndex(self.forgotten)
        index.apply(self.rules.of(room))
        return index

    def _note_empty(self, room: str) -> None:
        self.listed.drop(room)
        self._empty[room] = None
        self._forget()

    def _forget(self) -> None:
        """Forgets the rooms that have been empty for longest. Without a bound, all rooms ever used would stay."""
        while len(self._empty) > self._empty_rooms:
            room = next(iter(self._empty))
            del self._empty[room]
            index = self.rooms.pop(room)
            if index.newest > self.forgotten.seq:
                self.forgotten = watermark(index.newest, index.newest_at)
