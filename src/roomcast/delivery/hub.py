"""The rooms of this process: their recent messages as encoded bytes, and who is caught up.

Laws:
- The tail feeds the hub, nothing else does. All that one turn brings is one write per follower.
- A follower is a position, not a queue. Who is caught up sits in an audience (all who follow the same rooms
  over the same wire); who is not reads `window` at its own pace and rejoins.
- A message is framed once per wire; the same bytes object goes to every follower, live or replaying.
- No I/O and no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from heapq import merge

from roomcast.delivery.audience import Audience, Follower, Sink
from roomcast.delivery.wire import WIRES, Wire
from roomcast.model.message import Cut, Message
from roomcast.model.rooms import Selection, beginnings

WINDOW_BYTES = 16 * 1024 * 1024
"""How much of the recent past is kept at hand: with the default retention, all of it."""
PIECE_BYTES = 64 * 1024
"""The most one write hands a follower, and so the most that waits in our memory for a slow one."""
_PIECES = 32
"""How many pieces are kept joined: 2 MiB, so that a crowd that replays the same costs a write each and no more."""
_ENTRY_BYTES = 300
"""What an entry weighs beside its bodies and frames, as measured."""


class Entry:
    """A message and its frames, one per wire, each made when first needed."""

    __slots__ = ("_frames", "message")

    def __init__(self, message: Message) -> None:
        self.message = message
        self._frames: list[bytes | None] | None = None

    def frame(self, wire: Wire, epoch: str) -> bytes:
        if self._frames is None:
            self._frames = [None] * len(WIRES)
        frame = self._frames[wire.index]
        if frame is None:
            frame = self._frames[wire.index] = wire.message(epoch, self.message)
        return frame


_WALK = 2_000
"""So many messages are looked at in one turn for the newest by prefix: 1 ms."""
_SILENT_ROOMS = 20_000
"""Rooms that are known only because they lost something of late."""

_EVICTED = Entry(Message(0, "", None, 0, 0, b""))
"""In an evicted one's place: 32 a room, and their bodies, would be many times the window where rooms are many."""


class Piece:
    """Consecutive messages of some rooms, and the position they reach."""

    __slots__ = ("_joined", "entries", "full", "position")

    def __init__(self, entries: Sequence[Entry], position: int, *, full: bool = False) -> None:
        self.entries = entries
        self.position = position
        self.full = full
        """Whether it ends for its size, and so stays as it is whatever comes."""
        self._joined: dict[Wire, bytes] = {}

    def frames(self, wire: Wire, epoch: str) -> bytes:
        """All of its frames, joined once for all who read it: a crowd that replays reads the same pieces."""
        joined = self._joined.get(wire)
        if joined is None:
            joined = self._joined[wire] = b"".join([entry.frame(wire, epoch) for entry in self.entries])
        return joined


class _Room:
    """One room's part of the window, oldest first; what lies before `start` was evicted."""

    __slots__ = ("audiences", "entries", "floor", "gone", "named", "seqs", "start")

    def __init__(self, floor: int) -> None:
        self.floor = floor
        """Every message of this room above it is in the window, and none is lost there."""
        self.gone = 0
        """How many left it before their turn: their places in the window's order are passed over."""
        self.seqs: list[int] = []
        self.entries: list[Entry] = []
        self.start = 0
        self.audiences: dict[Audience, None] = {}
        """Not a list: thousands may follow a room beside others of their own, and each leaves by itself."""
        self.named = 0
        """How many of them follow it by its name: only these keep it known."""

    def add(self, entry: Entry) -> None:
        self.seqs.append(entry.message.seq)
        self.entries.append(entry)

    def after(self, seq: int) -> Iterator[Entry]:
        first = bisect_right(self.seqs, seq, self.start)
        return (self.entries[i] for i in range(first, len(self.entries)))

    def newest(self, count: int) -> Sequence[int]:
        return self.seqs[max(self.start, len(self.seqs) - count) :]

    def evict(self) -> Entry:
        entry, self.entries[self.start] = self.entries[self.start], _EVICTED
        self.floor = entry.message.seq
        self.start += 1
        if self.start == len(self.entries) or (self.start > 32 and self.start * 8 > len(self.entries)):
            del self.seqs[: self.start], self.entries[: self.start]
            self.start = 0
        return entry

    def cut(self, upto: int) -> int:
        """What of it comes up to there must be looked for in the log. Gives the bytes that leave."""
        size = 0
        while self.start < len(self.seqs) and self.seqs[self.start] <= upto:
            size += 2 * len(self.evict().message.body) + _ENTRY_BYTES
            self.gone += 1
        self.floor = max(self.floor, upto)
        return size

    @property
    def idle(self) -> bool:
        return not self.entries and not self.named


class Hub:
    """The window over the newest messages, and the audiences they are delivered to."""

    def __init__(self, epoch: str, position: int, trimmed: int, window_bytes: int = WINDOW_BYTES) -> None:
        self.restart(epoch, position, trimmed)
        self.deliveries = 0
        self._window_bytes = window_bytes

    def restart(self, epoch: str, position: int, trimmed: int, newest: int = 0) -> None:
        """Forgets all that it was fed, and whom it fed: the log has another history from now on, and `newest` is
        its newest message."""
        self.epoch = epoch
        self.position = position
        """Everything up to here was delivered to every audience."""
        self._began_below = newest
        """Until it was fed up to here, it does not know which messages are the newest."""
        self.trimmed = trimmed
        """How far the log is trimmed: what is not retained is not served from here either."""
        self.audiences: dict[tuple[Selection, Wire], Audience] = {}
        self._by_prefix: dict[str, dict[Audience, None]] = {}
        """Those that follow by prefix: whom a room reaches is found once, when it appears."""
        self._floor = position
        """Every message above it is in the window."""
        self._rooms: dict[str, _Room] = {}
        self._order: deque[_Room] = deque()
        self._last_cut = 0
        """No room was cut behind it."""
        self._silent: dict[str, None] = {}
        """Rooms without messages or followers that lost some which the window would else seem to reach."""
        self._pieces: dict[tuple[Selection, int], Piece] = {}
        """The last pieces read, by where they were asked for."""
        self._pieces_from = position
        """No piece begins before it."""
        self._bytes = 0

    def feed(
        self,
        messages: Sequence[Message],
        trimmed: int,
        now: float,
        position: int = 0,
        cuts: Sequence[Cut] = (),
    ) -> None:
        """What the tail brought: keeps it, gives it to everybody who is caught up, and evicts the oldest.
        `position`: how far that reaches, where no message comes at its end. What is missing in between is gone, of
        rooms that nobody knows, as at the start of a server: the window begins behind it."""
        hole = _last_hole(self.position, messages, position)
        heard: dict[Audience, list[Entry]] = {}
        for message in messages:
            entry = Entry(message)
            room = self._rooms.get(message.room) or self._room(message.room)
            room.add(entry)
            self._order.append(room)
            self._bytes += 2 * len(message.body) + _ENTRY_BYTES
            for audience in room.audiences:
                heard.setdefault(audience, []).append(entry)
        if messages:
            self.position = messages[-1].seq
        self.position = max(self.position, position)
        for audience, entries in heard.items():
            self._deliver(audience, entries, now)
        self.trimmed = trimmed
        if hole > max(self._floor, trimmed):
            self._begin_at(hole)
        for cut in cuts:
            self._cut_room(cut)
        self._evict()
        if len(self._silent) > _SILENT_ROOMS:
            self._look_after_silent()

    def join(self, selection: Selection, wire: Wire, sink: Sink, follower: Follower, now: float) -> None:
        """From now on the sink is written what comes; it has everything up to `position`."""
        audience = self.audiences.get((selection, wire))
        if audience is None:
            audience = self.audiences[selection, wire] = Audience(selection, wire)
            audience.spoke_at = now
            self._reach_rooms(audience)
        audience.position = self.position
        audience.live[sink] = follower

    def leave(self, selection: Selection, wire: Wire, sink: Sink) -> None:
        """The sink is written no more, whether it was caught up or not."""
        audience = self.audiences.get((selection, wire))
        if audience is None:
            return
        audience.live.pop(sink, None)
        if not audience.live:
            del self.audiences[selection, wire]
            self._leave_rooms(audience)

    def _reach_rooms(self, audience: Audience) -> None:
        """What comes in its rooms is for the audience from now on."""
        rooms, prefixes = audience.selection
        for name in rooms:
            room = self._room(name)
            room.audiences[audience] = None
            room.named += 1
        for prefix in prefixes:
            self._by_prefix.setdefault(prefix, {})[audience] = None
        for room in self._by_prefixes(prefixes):
            room.audiences[audience] = None

    def _leave_rooms(self, audience: Audience) -> None:
        rooms, prefixes = audience.selection
        for room in self._by_prefixes(prefixes):
            room.audiences.pop(audience, None)
        for prefix in prefixes:
            del self._by_prefix[prefix][audience]
            if not self._by_prefix[prefix]:
                del self._by_prefix[prefix]
        for name in rooms:
            room = self._rooms[name]
            room.audiences.pop(audience, None)
            room.named -= 1
            self._forget(name)

    def is_whole_after(self, position: int) -> bool:
        """Whether nothing behind a position was deleted, or taken by a room's rule."""
        return position >= self._last_cut

    def holds(self, room: str) -> bool:
        """Whether the window has messages of a room."""
        found = self._rooms.get(room)
        return found is not None and bool(found.entries)

    def window(self, selection: Selection, after: int) -> Piece | None:
        """The next piece of these rooms after a position; None where the window begins later."""
        if after >= self.position:
            return Piece((), self.position)
        if not self._reaches(selection, after):
            return None
        piece = self._pieces.get((selection, after))
        if piece is None or not (piece.full or piece.position == self.position):
            piece = self._cut(selection, after)
            if piece.entries:
                self._remember((selection, after), piece)
        return piece

    def _reaches(self, selection: Selection, after: int) -> bool:
        """Whether the window has all of these rooms after a position."""
        rooms, prefixes = selection
        if any(after < self._reach(room) for room in rooms):
            return False
        if not prefixes:
            return True
        # Only rooms that were cut begin behind the window's own floor.
        return after >= self._floor and (
            after >= self._last_cut or all(after >= room.floor for room in self._by_prefixes(prefixes))
        )

    def _cut(self, rooms: Selection, after: int) -> Piece:
        size = 0
        entries: list[Entry] = []
        for entry in self._after(rooms, after):
            entries.append(entry)
            size += len(entry.message.body) + _ENTRY_BYTES // 2
            if size >= PIECE_BYTES:
                return Piece(entries, entry.message.seq, full=True)
        return Piece(entries, self.position)

    def _remember(self, key: tuple[Selection, int], piece: Piece) -> None:
        self._pieces[key] = piece
        self._pieces_from = min(self._pieces_from, key[1])
        if len(self._pieces) > _PIECES:
            del self._pieces[next(iter(self._pieces))]

    def seek_newest(self, selection: Selection, count: int) -> int | None:
        """The position after which these rooms' newest `count` begin; None where the window is short, or was not
        yet fed what the log had when it began anew, or where few of many messages are of these prefixes."""
        if self.position < self._began_below:
            return None
        if not count:
            return self.position
        if selection.prefixes:
            return self._walk_back(selection, count)
        if self._last_cut > self._floor and not self._reaches(selection, self._floor):
            return None  # something in the middle of the window went
        seqs = sorted(seq for room in self._selected(selection) for seq in room.newest(count))
        if len(seqs) >= count:
            return seqs[-count] - 1
        return self.trimmed if self._floor <= self.trimmed else None

    def _walk_back(self, selection: Selection, count: int) -> int | None:
        """The same from the newest message on, since there may be thousands of rooms with a prefix."""
        passed: dict[_Room, int] = {}
        for walked, room in enumerate(reversed(self._order)):
            if walked == _WALK:
                return None
            nth = passed[room] = passed.get(room, 0) + 1
            place = len(room.entries) - nth
            if place < room.start:  # it left before its turn
                continue
            message = room.entries[place].message
            count -= selection.covers(message.room)
            if not count:
                return message.seq - 1 if self._reaches(selection, message.seq - 1) else None
        return self.trimmed if self._reaches(selection, self.trimmed) else None

    def _deliver(self, audience: Audience, entries: Sequence[Entry], now: float) -> None:
        self.deliveries += len(entries) * len(audience.live)
        audience.spoke_at = now
        for piece in pieces(entries):
            audience.position = piece[-1].message.seq
            audience.write(b"".join([entry.frame(audience.wire, self.epoch) for entry in piece]))

    def _evict(self) -> None:
        order = self._order
        while order:
            room = order[0]
            if room.gone:
                room.gone -= 1
                order.popleft()
                continue
            if self._bytes <= self._window_bytes and room.seqs[room.start] > self.trimmed:
                break
            order.popleft()
            message = room.evict().message
            self._floor = message.seq
            self._bytes -= 2 * len(message.body) + _ENTRY_BYTES
            if room.start == 0:  # as it is where all of it went
                self._forget(message.room)
        if self._floor < self.trimmed:
            self._floor = self.trimmed
        if self._pieces_from < self._floor:
            self._drop_pieces()

    def _cut_room(self, cut: Cut) -> None:
        if cut.upto <= self._floor:
            return
        self._last_cut = max(self._last_cut, cut.upto)
        # Its floor says so also where the window has none of it.
        room = self._rooms.get(cut.room) or self._room(cut.room)
        self._bytes -= room.cut(cut.upto)
        self._pieces = {key: piece for key, piece in self._pieces.items() if not key[0].covers(cut.room)}
        self._forget(cut.room)

    def _look_after_silent(self) -> None:
        """Lets go of rooms that are known only for what they lost, where the window no longer reaches there."""
        if not self._all_passed():
            self._begin_at(self.position)  # all of them at once, and the window with them

    def _begin_at(self, floor: int) -> None:
        """Nothing up to there is in the window any more."""
        self._floor = floor
        for name, room in list(self._rooms.items()):
            self._bytes -= room.cut(floor)
            self._forget(name)
        self._drop_pieces()

    def _all_passed(self) -> bool:
        """Whether there is space again."""
        for name in list(self._silent):
            self._forget(name)
        return len(self._silent) <= _SILENT_ROOMS // 2

    def _drop_pieces(self) -> None:
        """Those that began with what is evicted: nobody is served them any more, and they hold it in memory."""
        self._pieces = {key: piece for key, piece in self._pieces.items() if key[1] >= self._floor}
        self._pieces_from = min((after for _, after in self._pieces), default=self.position)

    def _room(self, name: str) -> _Room:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room(self._floor)
            if self._by_prefix:
                for prefix in beginnings(name):
                    room.audiences |= self._by_prefix.get(prefix, {})
        return room

    def _forget(self, name: str) -> None:
        room = self._rooms[name]
        if room.idle and room.floor > self._floor:
            self._silent[name] = None
            return
        if room.idle:
            del self._rooms[name]
        if self._silent:
            self._silent.pop(name, None)

    def _reach(self, name: str) -> int:
        room = self._rooms.get(name)
        return self._floor if room is None else room.floor

    def _selected(self, selection: Selection) -> list[_Room]:
        """The rooms of the window that are in a selection, each once."""
        rooms, prefixes = selection
        named = [self._rooms[name] for name in rooms if name in self._rooms]
        return list(dict.fromkeys([*named, *self._by_prefixes(prefixes)])) if prefixes else named

    def _by_prefixes(self, prefixes: tuple[str, ...]) -> list[_Room]:
        if not prefixes:
            return []
        return [room for name, room in self._rooms.items() if name.startswith(prefixes)]

    def _after(self, selection: Selection, seq: int) -> Iterator[Entry]:
        found = self._selected(selection)
        if len(found) > 1:
            found = [room for room in found if room.seqs and room.seqs[-1] > seq]
        parts = [room.after(seq) for room in found]
        return parts[0] if len(parts) == 1 else merge(*parts, key=lambda entry: entry.message.seq)


def _last_hole(position: int, messages: Sequence[Message], reached: int) -> int:
    """The last seq behind a position that is not among the messages that go on from there; 0 where each one is."""
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


def pieces(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Splits a burst, so that no write is much larger than `PIECE_BYTES`."""
    start = size = 0
    for end, entry in enumerate(entries):
        size += len(entry.message.body) + _ENTRY_BYTES // 2
        if size >= PIECE_BYTES:
            yield entries[start : end + 1]
            start, size = end + 1, 0
    if start < len(entries):
        yield entries[start:]
