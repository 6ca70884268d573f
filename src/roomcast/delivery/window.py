"""The window: the newest messages of all rooms, in memory as encoded bytes.

A stream that is behind reads the window piece by piece, at its own pace. The window's size is bounded, in bytes.
Each room has a floor: the seq above which the window has all of its messages. Below the floor, a stream reads the
log.

No I/O and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import merge

from roomcast.delivery.piece import ENTRY_BYTES, PIECE_BYTES, Entry, Piece
from roomcast.delivery.room_window import RoomWindow, size_of
from roomcast.model.message import Cut, Message
from roomcast.model.rooms import Selection

WINDOW_BYTES = 16 * 1024 * 1024
"""Enough for everything that the default retention keeps."""
_PIECES = 32
"""How many pieces are cached with their joined bytes: about 2 MiB for each wire. A crowd that replays the same
rooms then costs one write each."""
_WALK = 2_000
"""Most messages that one search for the newest by prefix looks at. It takes 1 ms."""
_SILENT_ROOMS = 20_000
"""How many rooms may be known only for what they lost recently."""


class Window:
    """The newest messages of all rooms."""

    def __init__(self, window_bytes: int) -> None:
        """`window_bytes` bounds the messages and their frames."""
        self._window_bytes = window_bytes

    def _empty(self, position: int, trimmed: int, newest: int) -> None:
        """Begins after the seq `position`, without messages."""
        self.position = position
        """The seq up to which everything was fed, and delivered to every audience."""
        self._newest_at_start = newest
        """The log's newest seq when this window began. Until it is reached, the newest messages are not here."""
        self.trimmed = trimmed
        """The seq up to which the log is trimmed. Trimmed messages are not served from here either."""
        self._floor = position
        """Every message above it is in the window, except in rooms with a higher floor of their own."""
        self._rooms: dict[str, RoomWindow] = {}
        self._order: deque[RoomWindow] = deque()
        """The room of each message, in the order of their seqs."""
        self._last_cut = 0
        """The highest seq up to which any room was cut."""
        self._silent: dict[str, None] = {}
        """Rooms without messages or followers that are kept only because their floor is above the window's."""
        self._pieces: dict[tuple[Selection, int], Piece] = {}
        """The pieces read last, by selection and the position before them."""
        self._pieces_from = position
        """A lower bound for the positions before the cached pieces."""
        self._bytes = 0

    def is_whole_after(self, position: int) -> bool:
        """Whether no message after this position was deleted, or trimmed by a room's rule."""
        return position >= self._last_cut

    def has_messages_of(self, room: str) -> bool:
        """Whether the window has messages of this room."""
        found = self._rooms.get(room)
        return found is not None and bool(found.entries)

    def piece_after(self, selection: Selection, after: int) -> Piece | None:
        """The next piece of the rooms in `selection` after the seq `after`; None if the window does not reach back
        so far."""
        if after >= self.position:
            return Piece((), self.position)
        if not self._reaches(selection, after):
            return None
        piece = self._pieces.get((selection, after))
        if piece is None or not (piece.full or piece.position == self.position):
            piece = self._read(selection, after)
            if piece.entries:
                self._cache((selection, after), piece)
        return piece

    def seek_newest(self, selection: Selection, count: int) -> int | None:
        """The seq before the newest `count` messages of the rooms in `selection`.

        None if only the log can tell: the window has too few messages or lost some by a cut, it was not yet fed
        what the log had when it began, or the search by prefix passed too many messages of other rooms."""
        if self.position < self._newest_at_start:
            return None
        if not count:
            return self.position
        if selection.prefixes:
            return self._walk_back(selection, count)
        if self._last_cut > self._floor and not self._reaches(selection, self._floor):
            return None  # messages in the middle of the window are gone
        seqs = sorted(seq for room in self._selected(selection) for seq in room.newest(count))
        if len(seqs) >= count:
            return seqs[-count] - 1
        return self.trimmed if self._floor <= self.trimmed else None

    def _walk_back(self, selection: Selection, count: int) -> int | None:
        """Like `seek_newest`, but walks back from the newest message: thousands of rooms may have a prefix."""
        passed: dict[RoomWindow, int] = {}
        for walked, room in enumerate(reversed(self._order)):
            if walked == _WALK:
                return None
            nth = passed[room] = passed.get(room, 0) + 1
            index = len(room.entries) - nth
            if index < room.start:  # the message was cut; only its place in the order is left
                continue
            message = room.entries[index].message
            count -= selection.covers(message.room)
            if not count:
                return message.seq - 1 if self._reaches(selection, message.seq - 1) else None
        return self.trimmed if self._reaches(selection, self.trimmed) else None

    def _reaches(self, selection: Selection, after: int) -> bool:
        """Whether the window has all messages of these rooms after this seq."""
        rooms, prefixes = selection
        if any(after < self._floor_of(room) for room in rooms):
            return False
        if not prefixes:
            return True
        # Only rooms that were cut have a floor above the window's own.
        return after >= self._floor and (
            after >= self._last_cut or all(after >= room.floor for room in self._with_prefixes(prefixes))
        )

    def _read(self, selection: Selection, after: int) -> Piece:
        size = 0
        entries: list[Entry] = []
        for entry in self._entries_after(selection, after):
            entries.append(entry)
            size += len(entry.message.body) + ENTRY_BYTES // 2
            if size >= PIECE_BYTES:
                return Piece(entries, entry.message.seq, full=True)
        return Piece(entries, self.position)

    def _cache(self, key: tuple[Selection, int], piece: Piece) -> None:
        self._pieces[key] = piece
        self._pieces_from = min(self._pieces_from, key[1])
        if len(self._pieces) > _PIECES:
            del self._pieces[next(iter(self._pieces))]

    def _remove(self, hole: int, trimmed: int, cuts: Sequence[Cut]) -> None:
        """Removes all messages that the log no longer has, and the oldest beyond the window's size."""
        self.trimmed = trimmed
        if hole > self._floor:
            self._begin_after(hole)
        for cut in cuts:
            self._cut_room(cut)
        self._evict()
        if len(self._silent) > _SILENT_ROOMS:
            self._bound_silent_rooms()

    def _evict(self) -> None:
        order = self._order
        while order:
            room = order[0]
            if room.removed:
                room.removed -= 1
                order.popleft()
                continue
            if self._bytes <= self._window_bytes and room.seqs[room.start] > self.trimmed:
                break
            order.popleft()
            message = room.evict().message
            self._floor = message.seq
            self._bytes -= size_of(message)
            if room.start == 0:  # its lists were compacted, and may be empty
                self._forget_if_idle(message.room)
        if self._floor < self.trimmed:
            self._floor = self.trimmed
        if self._pieces_from < self._floor:
            self._drop_pieces()

    def _cut_room(self, cut: Cut) -> None:
        if cut.upto <= self._floor:
            return
        self._last_cut = max(self._last_cut, cut.upto)
        # The room's floor must record the cut even if the window has none of its messages.
        room = self._rooms.get(cut.room) or self._add_room(cut.room)
        self._bytes -= room.cut(cut.upto)
        self._pieces = {key: piece for key, piece in self._pieces.items() if not key[0].covers(cut.room)}
        self._forget_if_idle(cut.room)

    def _begin_after(self, floor: int) -> None:
        """Removes everything up to the seq `floor`."""
        self._floor = floor
        for name, room in list(self._rooms.items()):
            self._bytes -= room.cut(floor)
            self._forget_if_idle(name)

    def _bound_silent_rooms(self) -> None:
        """Forgets silent rooms whose floor the window has passed. If too many are left, empties the window."""
        for name in list(self._silent):
            self._forget_if_idle(name)
        if len(self._silent) > _SILENT_ROOMS // 2:
            self._begin_after(self.position)

    def _drop_pieces(self) -> None:
        """Drops cached pieces that begin with evicted messages: nobody may read them, and they take memory."""
        self._pieces = {key: piece for key, piece in self._pieces.items() if key[1] >= self._floor}
        self._pieces_from = min((after for _, after in self._pieces), default=self.position)

    def _add_room(self, name: str) -> RoomWindow:
        room = self._rooms[name] = RoomWindow(self._floor)
        return room

    def _forget_if_idle(self, name: str) -> None:
        room = self._rooms[name]
        if room.idle and room.floor > self._floor:
            self._silent[name] = None
            return
        if room.idle:
            del self._rooms[name]
        if self._silent:
            self._silent.pop(name, None)

    def _floor_of(self, name: str) -> int:
        room = self._rooms.get(name)
        return self._floor if room is None else room.floor

    def _selected(self, selection: Selection) -> list[RoomWindow]:
        """The selected rooms that are in the window, each once."""
        rooms, prefixes = selection
        named = [self._rooms[name] for name in rooms if name in self._rooms]
        return list(dict.fromkeys([*named, *self._with_prefixes(prefixes)])) if prefixes else named

    def _with_prefixes(self, prefixes: tuple[str, ...]) -> list[RoomWindow]:
        if not prefixes:
            return []
        return [room for name, room in self._rooms.items() if name.startswith(prefixes)]

    def _entries_after(self, selection: Selection, seq: int) -> Iterator[Entry]:
        found = self._selected(selection)
        if len(found) > 1:
            found = [room for room in found if room.seqs and room.seqs[-1] > seq]
        parts = [room.after(seq) for room in found]
        return parts[0] if len(parts) == 1 else merge(*parts, key=lambda entry: entry.message.seq)


def last_hole(position: int, messages: Sequence[Message], reached: int) -> int:
    """The last seq after `position` that is missing from `messages`, which reach up to the seq `reached`; 0 if
    none is missing."""
    newest = messages[-1].seq if messages else position
    if reached > newest:
        return reached
    if newest - position == len(messages):
        return 0
    following = newest
    for message in reversed(messages):
        if message.seq != following:
            break
        following -= 1
    return following
