"""Writes the database: the one write connection, used by one thread at a time, never the event loop's.

Laws:
- A group of appends is one statement, and so one transaction that SQLite rolls back where anything of it fails.
  It fails as a whole, but for an append refused by itself.
- What is known in memory is taken over only when it is committed; after a failure it is read from the database
  afresh. So a failure leaves no hole, and the next append finds out by itself whether the disk is back.
- Trimming is bounded: no commit and no step of it takes longer for how much is beyond the cap.
- Nothing is written where nobody will find it: the files must lie where they were opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

import apsw
import msgspec

from roomcast.log import clock as machine
from roomcast.log.append_queue import Answer, Request
from roomcast.log.base import Idempotency
from roomcast.log.clock import Clock
from roomcast.log.register import remembered
from roomcast.log.sequencer import GONE_KEYS, KEY_MS, Kept, Key, NewKey, Sequencer
from roomcast.log.sqlite.files import Files
from roomcast.log.sqlite.queries import QUERIES, pack, to_json
from roomcast.log.sqlite.room_caps import RoomCaps
from roomcast.log.sqlite.state import Holes, State
from roomcast.log.sqlite.times import begin_times
from roomcast.log.sqlite.unregistered import NO_ROW, Unregistered
from roomcast.log.sqlite.write_cache import WriteCache
from roomcast.model.errors import LogUnavailable, RoomcastError
from roomcast.model.message import Cut, Message
from roomcast.model.retention import Retention, RoomRules
from roomcast.model.revocation import Revocation

TRIM_BESIDE = 8
"""A commit trims twice what it adds and this many. With 32, a publish took 8 ms (p99) while a million messages
were trimmed beside 1,000 publishes a second; so 2 ms, as with nothing to trim (benchmarks/trim_latency.py)."""
TRIM_STEP = 200
"""What a step trims while nothing else is to be done."""
LOOK_SECONDS = 0.1
"""How often a busy writer looks after its files. Before each commit it would wait for the interpreter's lock once
more for each of them."""

CUT_AT = 64
"""So many messages of rooms that have more than their rules leave them go together with a commit; fewer wait for
a moment of quiet. One by one they made a publish cost 1.6 times as much."""
WALK_ROOMS = 200
"""Rooms that one step of a walk looks at: 0.3 ms."""
_GONE_KEYS_LOOK = 10_000
"""After so many messages trimmed, the keys that are gone are counted."""
_KEYS_STEP = 1_000
"""Keys that are forgotten at once."""

_keys = msgspec.json.Decoder(list[tuple[str, str, str, int, int, int, int]])
_walked = msgspec.json.Decoder(list[tuple[str, int, int, int]])
_found = msgspec.json.Decoder(list[str])
_found_rooms = msgspec.json.Decoder(list[tuple[int, int]])
_seqs = msgspec.json.Decoder(list[int])


class Committed(NamedTuple):
    """What a commit has done."""

    state: State
    messages: Sequence[Message]
    answers: Sequence[Any]
    """One for each request, in order."""
    cuts: Sequence[Cut] = ()
    """What went, but for the oldest of the whole log."""
    more: bool = False
    """Whether there is more to be trimmed."""


class Writer:
    """The log's one writer."""

    def __init__(
        self,
        connection: apsw.Connection,
        files: Files,
        state: State,
        clock: Clock,
        retention: Retention,
        empty_rooms: int,
        holes: Holes | None = None,
    ) -> None:
        self._connection = connection
        self._files = files
        self._look_at = 0.0
        """When its files are to be looked after again."""
        self._retention = retention
        self._empty_rooms = empty_rooms
        self._clock = clock
        self._known = WriteCache(self._row, state)
        self._caps = RoomCaps(RoomRules(retention.rooms), self._row)
        self._unregistered = Unregistered(self._row)
        self._holes = Holes() if holes is None else holes
        self._unfinished = False
        """Whether the last step ended before all was trimmed that is too old."""
        self._maybe_gone = _GONE_KEYS_LOOK
        """How many keys may be gone since they were counted."""
        self._maybe_empty = 2 * empty_rooms + 1
        """How many rooms may be empty: as counted last (so many at first that they are counted soon), and one
        for each message trimmed since."""

    def commit(self, requests: Sequence[Request], floor: int | None) -> Committed:
        """Stores a group of appends, and trims, not beyond `floor`."""
        self._look()
        self._forget()
        self._begin_times()
        before = self._known.state
        numbering = self._number(requests, before)
        answers = [_answer(numbering, request) for request in requests]
        messages = numbering.messages
        if not messages:
            return self._unchanged(answers)
        if self._caps.rules.rules:
            self._caps.make_space()
            self._caps.learn(messages, before.trimmed)
        most = 2 * len(messages) + TRIM_BESIDE
        return self._trim(_grown(before, messages), most, floor, numbering, answers)

    def trim(self, floor: int | None) -> Committed:
        """One step of trimming, not beyond `floor`."""
        self._look()
        self._forget()
        return self._trim(self._known.state, TRIM_STEP, floor)

    def walk(self, after: str, floor: int | None) -> Committed:
        """One step of a walk over all rooms, from the one behind `after`: finds what goes without a publish, and
        trims. The answer is how far it came; None at the end."""
        rows: Sequence[tuple[str, int, int, int]] = ()
        if self._caps.rules.rules:
            rows = _walked.decode(self._value("walk_rooms", {"after": after, "limit": WALK_ROOMS}))
            self._caps.note(rows, _now())
        return self.trim(floor)._replace(answers=(rows[-1][0] if rows else None,))

    def keep(self, retention: Retention) -> Committed:
        """Other rules from now on."""
        self._retention = retention
        self._caps = RoomCaps(RoomRules(retention.rooms), self._row)
        self._known.forget_oldest()
        return self._unchanged((None,))

    def delete(self, seq: int) -> Committed:
        """Deletes a message. The answer is whether it was there."""
        self._look()
        rooms = _found.decode(self._value("find", {"seq": seq}))
        if not rooms:
            return self._unchanged((False,))
        self._holes.deleted = True
        return self._delete("delete", {"seq": seq}, Cut(rooms[0], seq, 1))

    def delete_room(self, room: str) -> Committed:
        """Deletes what a room has. The answer is whether it had anything."""
        self._look()
        found = _found_rooms.decode(self._value("find_room", {"room": room}))
        if not found:
            return self._unchanged((False,))
        self._holes.purging = True
        [(messages, newest)] = found
        self._register()
        self._maybe_empty += 1
        return self._delete("delete_room", {"room": room}, Cut(room, newest, messages))

    def revoke(self, revocation: Revocation, oldest: int) -> Committed:
        """Keeps a revocation, and removes those before `oldest`, in ms."""
        self._look()
        sub, iss, before = revocation
        try:
            self._run("forget_revoked", {"oldest": oldest})
            self._run("revoke", {"sub": sub, "iss": iss or "", "before": before})
        except apsw.Error as error:
            self._give_up(error)
            raise
        self._look_behind()
        return self._unchanged((None,))

    def _register(self) -> None:
        """Registers messages before a room is deleted: it is gone at once, and its messages must be in the
        register."""
        state = self._known.state
        if self._unregistered.is_due(state.newest, ()):
            self._step(state, (), None, register=True)

    def _delete(self, name: str, parameters: dict[str, Any], cut: Cut) -> Committed:
        try:
            self._run(name, parameters)
        except apsw.Error as error:
            self._give_up(error)
            raise
        self._look_behind()
        self._known.forget()
        self._caps.drop(cut.room)
        state = self._known.state
        return Committed(state, (), (True,), (cut,), self._has_more(state))

    def _unchanged(self, answers: Sequence[Any]) -> Committed:
        """What comes of a job that stored and trimmed nothing: what was left to trim still is."""
        state = self._known.state
        return Committed(state, (), answers, (), self._has_more(state))

    def _has_more(self, state: State) -> bool:
        """Whether something is left to trim."""
        left = self._unfinished or self._holes.purging
        return left or bool(self._caps.over) or state.over(self._retention)

    def close(self) -> None:
        """Empties the write-ahead log, where that can be done, and lets go of the database."""
        if not self._files.missing():
            with suppress(LogUnavailable):
                self._look_into()
        if self._files.cut:
            self._abandon()
            return
        with suppress(apsw.Error):
            # Only with this wait is all that a lowered `synchronous` left in the kernel on the disk for sure.
            self._connection.pragma("synchronous", "full")
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            if not self._files.missing():  # else it would be read with the database that lies there now
                self._run("end_life")
        self._connection.close()
        self._files.close()

    def _abandon(self) -> None:
        """What SQLite believes to be in the write-ahead log would spoil the database. The next start begins a new
        epoch: the ids of what is gone must not be used again."""
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._connection.close()
        self._files.close()
        with suppress(apsw.Error):
            again = apsw.Connection(self._files.database, flags=apsw.SQLITE_OPEN_READWRITE)
            again.execute(QUERIES["end_epoch"])
            again.close()

    def _look(self) -> None:
        """Raises `LogUnavailable` where what would be written now would be gone with this process."""
        self._check_whole()
        if (now := monotonic()) >= self._look_at:
            if missing := self._files.missing():
                raise LogUnavailable(
                    f"{missing} was moved, removed or replaced: put it back, or start the server again."
                )
            self._look_into()
            self._look_at = now + LOOK_SECONDS

    def _look_into(self) -> None:
        """Raises `LogUnavailable` where what was written is gone."""
        if not self._files.cut:
            with suppress(FileNotFoundError):  # a moment ago it was there
                self._files.look()
        self._check_whole()

    def _look_behind(self) -> None:
        """Raises `LogUnavailable` where what was just committed, or what was before it, is gone already."""
        self._files.look_behind()
        self._check_whole()

    def _check_whole(self) -> None:
        if self._files.cut:
            raise LogUnavailable(
                f"{self._files.cut} was emptied or cut short, and messages are gone with that: end the server, "
                "put a copy in the place of the log where there is one, and start with --new-epoch."
            )

    def _number(self, requests: Sequence[Request], state: State) -> Sequencer:
        newest = self._known.newest({draft.room for request in requests for draft in request.drafts})
        now = self._clock.now(state.retained_at)
        asked = [request.idempotency for request in requests if request.idempotency]
        return Sequencer(
            self._retention,
            state.newest,
            now,
            lambda room: newest.get(room, state.forgotten),
            self._load_keys(asked, now) if asked else {},
            self._caps.rules,
        )

    def _trim(
        self,
        state: State,
        most: int,
        floor: int | None,
        numbering: Sequencer | None = None,
        answers: Sequence[Any] = (),
    ) -> Committed:
        """Brings the log to `state`, and takes off what is beyond its caps: at most `most` messages, and only what
        is stored already."""
        before = self._known.state
        end = before.newest if floor is None or floor > before.newest else floor
        cuts: Sequence[Cut] = ()
        gone: list[int] = []
        if self._caps.over and (numbering is None or self._caps.due >= CUT_AT):
            most = max(most, 2 * CUT_AT)
            cuts, gone, size = self._caps.cut(most, state.trimmed, end, _now())
            state = state._replace(messages=state.messages - len(gone), bytes=state.bytes - size)
            self._known.note_cut(gone)
        self._unfinished = False
        if end > state.trimmed and (self._retention.max_age is not None or state.over(self._retention)):
            state = self._trim_oldest(state, most - len(gone), end, frozenset(gone))
            self._known.note_cut(gone)  # again: the oldest may have been read just now, with what is going
        if self._holes.purging:
            gone += _seqs.decode(self._value("load_purged", {"limit": most}))
        if numbering or gone or state != before:
            self._step(state, gone, numbering)
        if self._holes.purging:
            self._holes.purging = self._value("load_purges") != "{}"
        return Committed(state, numbering.messages if numbering else (), answers, cuts, self._has_more(state))

    def _trim_oldest(self, state: State, most: int, end: int, going: frozenset[int]) -> State:
        """The oldest of the whole log, down to its caps. `going`: what goes already in this step, by a rule."""
        most_messages, most_bytes, max_age, _ = self._retention
        too_old = -1 if max_age is None else _now() - int(max_age * 1000)
        newest, newest_at, trimmed, size, forgotten, forgotten_at, messages, deletions = state
        cut = self._known.cut
        before = self._known.state
        full = max_age is not None or not before.dense or self._holes.purging
        for seq, length, stored_at in self._known.oldest(trimmed, end, full=full):
            if seq > end or not (messages > most_messages or size > most_bytes or stored_at < too_old):
                break
            if not most:
                self._unfinished = True
                break
            most -= 1
            trimmed = seq
            if length >= 0 and seq not in going and not (cut and seq in cut):
                messages -= 1
                size -= length
        return State(newest, newest_at, trimmed, size, forgotten, forgotten_at, messages, deletions)

    def _step(
        self, after: State, gone: Sequence[int], numbering: Sequencer | None, *, register: bool = False
    ) -> None:
        """Brings the log from the known state to the one `after`, or leaves it as it is."""
        before = self._known.state
        messages = numbering.messages if numbering else ()
        keys = [_key_row(new) for new in numbering.new_keys] if numbering and numbering.new_keys else ()
        if keys:
            self._holes.keyed = True
        step: dict[str, Any] = pack(messages)
        step["keys"] = to_json(keys) if keys else "[]"
        step["newest"], step["newest_at"], step["trimmed"], step["bytes"] = after[:4]
        step["messages"] = after.messages
        try:
            register = register or self._unregistered.is_due(after.trimmed, gone)
            if gone or self._holes.deleted or self._holes.purging or register:
                step["gone"] = to_json(gone)
                step |= self._unregistered.row(before.newest) if register else NO_ROW
                step["until"] = after.newest - remembered(self._retention.max_messages)
                self._run("cutting", step)
            else:
                self._run("step" if self._holes.keyed else "plain", step)
        except apsw.Error as error:
            self._give_up(error)
            raise
        self._look_behind()
        trimmed = before.messages + len(messages) - after.messages
        self._maybe_empty += trimmed
        self._maybe_gone += trimmed
        if register:
            self._unregistered.registered(before.newest)
        self._unregistered.add(messages)
        self._known.learn(after, messages)

    def _give_up(self, error: apsw.Error) -> None:
        """A write failed: what is known is read again."""
        self._known.forget()
        self._caps.forget()
        self._unregistered.forget()
        if not isinstance(error, apsw.BusyError):  # it was waited for in vain, and nothing written
            self._take_back()

    def _take_back(self) -> None:
        """Where only the disk's word was missing (an error of fdatasync), the refused commit is whole in the
        write-ahead log, and the next start would find it there. One that changes nothing takes its place, and does
        so whatever the disk says of it."""
        with suppress(apsw.Error):
            self._connection.pragma("user_version", self._connection.pragma("user_version"))

    def _forget(self) -> None:
        """Without a bound, every room ever used would be remembered: the longest empty ones go. Counting them
        takes a while, so only when there may be a tenth too many."""
        if self._maybe_empty > self._empty_rooms + self._empty_rooms // 10:
            self._maybe_empty = self._value("count_empty_rooms")
            count = min(self._maybe_empty - self._empty_rooms, TRIM_STEP)
            if count > 0:
                self._run("forget", {"count": count})
                self._maybe_empty -= count
                self._known.forget()
        if self._maybe_gone > _GONE_KEYS_LOOK:
            self._forget_keys()

    def _forget_keys(self) -> None:
        """Those whose messages are gone, and that are old enough or too many."""
        more = max(0, self._value("count_gone_keys") - GONE_KEYS)
        self._run("forget_keys", {"until": _now() - KEY_MS, "more": more, "most": _KEYS_STEP})
        if self._connection.changes() < _KEYS_STEP:
            self._maybe_gone = 0

    def _begin_times(self) -> None:
        """Where the clock was ahead once, and all from then is trimmed, nothing stays behind from the future."""
        state = self._known.state
        if not state.messages and state.newest_at > (now := self._clock.now(0)):
            begin_times(self._connection, now)
            self._known.forget()

    def _load_keys(self, asked: Sequence[Idempotency], now: int) -> dict[Key, Kept]:
        pairs = to_json([(idempotency.scope, idempotency.key) for idempotency in asked])
        rows = _keys.decode(self._value("load_keys", {"keys": pairs}))
        return {
            (scope, key): Kept(bytes.fromhex(digest), first, size, stored_at)
            for scope, key, digest, first, size, stored_at, gone in rows
            if not gone or stored_at > now - KEY_MS
        }

    def _run(self, name: str, parameters: dict[str, Any] | None = None) -> None:
        self._connection.execute(QUERIES[name], parameters)

    def _row(self, name: str, parameters: dict[str, Any] | None = None) -> Any:
        # The list steps past the row: a statement left standing there holds its moment open.
        [row] = list(self._connection.execute(QUERIES[name], parameters))
        return row

    def _value(self, name: str, parameters: dict[str, Any] | None = None) -> Any:
        [value] = self._row(name, parameters)
        return value


def _grown(state: State, messages: Sequence[Message]) -> State:
    _, _, trimmed, size, forgotten, forgotten_at, count, deletions = state
    for message in messages:
        size += len(message.body)
    count += len(messages)
    return State(message.seq, message.stored_at, trimmed, size, forgotten, forgotten_at, count, deletions)


def _answer(numbering: Sequencer, request: Request) -> Answer:
    try:
        return numbering.append(request.drafts, request.idempotency)
    except RoomcastError as error:
        return error


def _key_row(new: NewKey) -> tuple[str, str, str, int, int, int]:
    kept = new.kept
    return (new.scope, new.key, kept.digest.hex(), kept.first, kept.size, kept.stored_at)


def _now() -> int:
    """The time in ms, by which messages are too old."""
    return machine.clock() // 1_000_000
