"""The hub: the window of recent messages, and the followers that are caught up.

Laws:
- Only the tail feeds the hub. All messages of one turn go to each follower in one write. Only a burst larger than
  `PIECE_BYTES` takes several.
- A follower is a position, not a queue. A follower that is caught up sits in an audience: all who follow the same
  rooms over the same wire. One that is behind reads the window at its own pace, and joins again.
- A message is framed once per wire; the same bytes object goes to every follower, live or replaying.
- No I/O and no clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.delivery.audience import Audience, Sink, SinkOwner
from roomcast.delivery.piece import ENTRY_BYTES, Entry, split
from roomcast.delivery.room_window import RoomWindow
from roomcast.delivery.window import WINDOW_BYTES, Window, last_hole
from roomcast.delivery.wire import Wire
from roomcast.model.message import Cut, Message
from roomcast.model.rooms import Selection, beginnings


class Hub(Window):
    """The window, and the audiences that its messages are delivered to."""

    def __init__(self, epoch: str, position: int, trimmed: int, window_bytes: int = WINDOW_BYTES) -> None:
        """The parameters are as in `restart`; `window_bytes` bounds the window."""
        super().__init__(window_bytes)
        self.restart(epoch, position, trimmed)
        self.deliveries = 0
        """How many messages were written to live followers, counted once per follower."""

    def restart(self, epoch: str, position: int, trimmed: int, newest: int = 0) -> None:
        """Forgets all messages and audiences: the log has another history, or the tail has missed messages.

        The hub is then fed the messages after the seq `position`. The log has this `epoch`, is trimmed
        up to the seq `trimmed`, and its newest seq is `newest`."""
        self.epoch = epoch
        self.audiences: dict[tuple[Selection, Wire], Audience] = {}
        self._by_prefix: dict[str, dict[Audience, None]] = {}
        """The audiences that follow each prefix. A new room finds its audiences here, once."""
        self._empty(position, trimmed, newest)

    def feed(
        self,
        messages: Sequence[Message],
        trimmed: int,
        now: float,
        position: int = 0,
        cuts: Sequence[Cut] = (),
    ) -> None:
        """Stores what the tail brought, writes it to all live followers, and evicts the oldest messages.

        `trimmed` is the seq up to which the log is trimmed, `now` the loop's time. `position` is the seq that the
        batch reaches, if it does not end with a message. `cuts` are messages of single rooms that are gone.
        Missing seqs are messages that were removed before the tail read them, while no follower was live, as at a
        server's start: the window then begins after the last of them."""
        hole = last_hole(self.position, messages, position)
        entries_by_audience: dict[Audience, list[Entry]] = {}
        for message in messages:
            entry = Entry(message)
            room = self._rooms.get(message.room) or self._add_room(message.room)
            room.add(entry)
            self._order.append(room)
            self._bytes += 2 * len(message.body) + ENTRY_BYTES  # size_of, without a call for each message
            for audience in room.audiences:
                entries_by_audience.setdefault(audience, []).append(entry)
        if messages:
            self.position = messages[-1].seq
        self.position = max(self.position, position)
        for audience, entries in entries_by_audience.items():
            self._deliver(audience, entries, now)
        self._remove(hole, trimmed, cuts)

    def join(self, selection: Selection, wire: Wire, sink: Sink, owner: SinkOwner, now: float) -> None:
        """Writes the messages of `selection` to `sink` from now on, over `wire`. The sink must have been given
        everything up to the hub's position. `owner` is told when the sink cannot keep up; `now` is the loop's
        time."""
        audience = self.audiences.get((selection, wire))
        if audience is None:
            audience = self.audiences[selection, wire] = Audience(selection, wire)
            audience.written_at = now
            self._enter_rooms(audience)
        audience.position = self.position
        audience.live[sink] = owner

    def leave(self, selection: Selection, wire: Wire, sink: Sink) -> None:
        """Stops writing to `sink`, which joined with this `selection` and `wire`. Does nothing if it is not
        live."""
        audience = self.audiences.get((selection, wire))
        if audience is None:
            return
        audience.live.pop(sink, None)
        if not audience.live:
            del self.audiences[selection, wire]
            self._leave_rooms(audience)

    def _enter_rooms(self, audience: Audience) -> None:
        """Adds the audience to its rooms, so that it gets their messages from now on."""
        rooms, prefixes = audience.selection
        for name in rooms:
            room = self._rooms.get(name) or self._add_room(name)
            room.audiences[audience] = None
            room.named += 1
        for prefix in prefixes:
            self._by_prefix.setdefault(prefix, {})[audience] = None
        for room in self._with_prefixes(prefixes):
            room.audiences[audience] = None

    def _leave_rooms(self, audience: Audience) -> None:
        rooms, prefixes = audience.selection
        for room in self._with_prefixes(prefixes):
            room.audiences.pop(audience, None)
        for prefix in prefixes:
            del self._by_prefix[prefix][audience]
            if not self._by_prefix[prefix]:
                del self._by_prefix[prefix]
        for name in rooms:
            room = self._rooms[name]
            room.audiences.pop(audience, None)
            room.named -= 1
            self._forget_if_idle(name)

    def _deliver(self, audience: Audience, entries: Sequence[Entry], now: float) -> None:
        audience.written_at = now
        for run in split(entries):
            self.deliveries += len(run) * len(audience.live)  # without those that fell behind in an earlier run
            audience.position = run[-1].message.seq
            audience.write(b"".join([entry.frame(audience.wire, self.epoch) for entry in run]))

    def _add_room(self, name: str) -> RoomWindow:
        room = super()._add_room(name)
        if self._by_prefix:
            for prefix in beginnings(name):
                room.audiences |= self._by_prefix.get(prefix, {})
        return room
