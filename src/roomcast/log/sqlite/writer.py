"""Writes the database: the one write connection, used by one thread at a time, never the event loop's.

Laws:
- A group of appends is one statement, and so one transaction that SQLite rolls back if any part of it fails. The
  group fails as a whole, but an append may be refused alone before it is written.
- After a job that raised any error, everything cached is read from the database again. So a failure leaves no
  hole, and the next append finds out by itself whether the disk is back.
- Trimming is bounded: no commit and no step takes longer because there is more beyond the cap.
- Nothing is written that would be lost: the files must lie where they were opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from roomcast.log.append_queue import AppendAnswer, AppendRequest
from roomcast.log.clock import Clock, now_ms
from roomcast.log.register import register_size
from roomcast.log.sequencer import Sequencer
from roomcast.log.sqlite.committed import Committed
from roomcast.log.sqlite.empty_rooms import EmptyRooms
from roomcast.log.sqlite.files import DatabaseFiles
from roomcast.log.sqlite.future_times import clamp_times
from roomcast.log.sqlite.keys import KeyTable, rows_of
from roomcast.log.sqlite.oldest import trim_oldest
from roomcast.log.sqlite.queries import pack, to_json
from roomcast.log.sqlite.room_caps import RoomCaps
from roomcast.log.sqlite.state import ContentFlags, LogState
from roomcast.log.sqlite.unregistered import NO_ROW, Unregistered
from roomcast.log.sqlite.write_cache import WriteCache
from roomcast.log.sqlite.write_connection import WriteConnection
from roomcast.model.errors import RoomcastError
from roomcast.model.message import Cut
from roomcast.model.retention import Retention, RoomRules
from roomcast.model.revocation import Revocation

TRIM_EXTRA = 8
"""A commit trims twice as many messages as it adds, and this many more. With 32, a publish took 8 ms (p99) while a
million messages were trimmed beside 1,000 publishes a second. With 8 it takes 2 ms, as with nothing to trim
(benchmarks/trim_latency.py)."""
TRIM_STEP = 200
"""The most messages that one step trims while there is nothing else to do."""
CUT_AT = 64
"""A commit also cuts the rooms over their rules once this many messages were added to such rooms. With fewer, the
rooms wait for a moment of quiet. Cutting them one by one made a publish cost 1.6 times as much."""
WALK_ROOMS = 200
"""Rooms that one step of a walk looks at. It takes 0.3 ms."""

_walked = msgspec.json.Decoder(list[tuple[str, int, int, int]])
_found = msgspec.json.Decoder(list[str])
_found_rooms = msgspec.json.Decoder(list[tuple[int, int]])
_seqs = msgspec.json.Decoder(list[int])


class SqliteWriter:
    """The log's one writer."""

    def __init__(
        self,
        connection: apsw.Connection,
        files: DatabaseFiles,
        state: LogState,
        clock: Clock,
        retention: Retention,
        empty_rooms: int,
        flags: ContentFlags | None = None,
    ) -> None:
        """`empty_rooms`: how many rooms without messages are remembered."""
        self._database = database = WriteConnection(connection, files)
        self._retention = retention
        self._clock = clock
        self._cache = WriteCache(database.row, state)
        self._caps = RoomCaps(RoomRules(retention.rooms), database.row)
        self._keys = KeyTable(database)
        self._empty_rooms = EmptyRooms(database, self._cache, empty_rooms)
        self._unregistered = Unregistered(database.row)
        database.on_failure += [self._cache.forget, lambda: self._caps.forget(), self._unregistered.forget]
        self._flags = ContentFlags() if flags is None else flags
        self._unfinished = False
        """Whether the last step left some of the oldest messages although they may go."""

    def commit(self, requests: Sequence[AppendRequest], floor: int | None) -> Committed:
        """Stores a group of appends, the `requests`, and trims; it trims nothing after the seq `floor`. The
        answers are `Appended` or `RoomcastError`, one for each request."""
        self._prepare()
        self._clamp_times()
        before = self._cache.state
        sequencer = self._sequencer(requests, before)
        answers = [_answer(sequencer, request) for request in requests]
        messages = sequencer.messages
        if not messages:
            return self._unchanged(answers)
        if self._caps.rules.rules:
            self._caps.make_space()
            self._caps.learn(messages, before.trimmed)
        limit = 2 * len(messages) + TRIM_EXTRA
        return self._trim(before.grown(messages), limit, floor, sequencer, answers)

    def trim(self, floor: int | None) -> Committed:
        """One step of trimming. It trims nothing after the seq `floor`."""
        was_away = self._database.guard.away
        self._prepare()
        # If the files were away, that is why the last job failed, and it has passed.
        return self._trim(self._cache.state, TRIM_STEP, floor)._replace(writable=was_away)

    def walk(self, after: str, floor: int | None) -> Committed:
        """One step of a walk over all rooms, after the room `after`. It finds rooms whose messages must go even
        if nobody publishes there. Then it trims, but nothing after the seq `floor`. The answer is the last room
        looked at; None at the end."""
        rows: Sequence[tuple[str, int, int, int]] = ()
        if self._caps.rules.rules:
            rows = _walked.decode(self._database.value("walk_rooms", {"after": after, "limit": WALK_ROOMS}))
            self._caps.note_walked(rows, now_ms())
        return self.trim(floor)._replace(answers=(rows[-1][0] if rows else None,))

    def set_rules(self, retention: Retention) -> Committed:
        """Takes the rules for rooms and the age of `retention`. They apply from the next commit or walk on."""
        self._retention = retention
        self._caps = RoomCaps(RoomRules(retention.rooms), self._database.row)
        self._cache.forget_oldest()
        return self._unchanged((None,))

    def delete(self, seq: int) -> Committed:
        """Deletes the message `seq`: its row stays, without a body, until it is trimmed. The answer is whether it
        was there."""
        self._database.guard.check()
        rooms = _found.decode(self._database.value("find", {"seq": seq}))
        if not rooms:
            return self._unchanged((False,))
        self._flags.deleted = True
        return self._delete("delete", {"seq": seq}, Cut(rooms[0], seq, 1))

    def delete_room(self, room: str) -> Committed:
        """Deletes all messages of `room`: they count no more, and their rows go in steps. The answer is whether it
        had any."""
        self._database.guard.check()
        found = _found_rooms.decode(self._database.value("find_room", {"room": room}))
        if not found:
            return self._unchanged((False,))
        self._flags.purging = True
        [(messages, newest)] = found
        self._register()
        self._empty_rooms.note_trimmed(1)
        return self._delete("delete_room", {"room": room}, Cut(room, newest, messages))

    def revoke(self, revocation: Revocation, oldest: int) -> Committed:
        """Keeps a revocation, and removes those before `oldest` (ms since 1970)."""
        self._database.guard.check()
        sub, iss, before = revocation
        self._database.write("forget_revoked", {"oldest": oldest})
        self._database.write("revoke", {"sub": sub, "iss": iss or "", "before": before})
        return self._unchanged((None,))._replace(writable=True)

    def undo(self, error: Exception) -> None:
        """Undoes the last job, which raised `error`: nothing of it stays, and everything cached is read again."""
        self._database.undo(error)

    def close(self) -> None:
        """Empties the write-ahead log if possible, and releases the database."""
        self._database.close()

    def _prepare(self) -> None:
        """Checks the files, and forgets rooms and keys that are no longer kept."""
        self._database.guard.check()
        self._empty_rooms.tidy()
        self._keys.tidy(now_ms())

    def _sequencer(self, requests: Sequence[AppendRequest], state: LogState) -> Sequencer:
        newest = self._cache.newest({draft.room for request in requests for draft in request.drafts})
        now = self._clock.now(state.retained_at)
        requested = [request.idempotency for request in requests if request.idempotency]
        return Sequencer(
            self._retention,
            state.newest,
            now,
            lambda room: newest.get(room, state.forgotten),
            self._keys.load(requested, now) if requested else {},
            self._caps.rules,
        )

    def _trim(
        self,
        state: LogState,
        limit: int,
        floor: int | None,
        sequencer: Sequencer | None = None,
        answers: Sequence[Any] = (),
    ) -> Committed:
        """Brings the log to `state`, and removes what is beyond its caps: only messages that are stored already,
        and at most `limit`, or twice `CUT_AT` if that is more and rooms are cut. As many rows of deleted rooms may
        go in addition."""
        before = self._cache.state
        end = before.newest if floor is None or floor > before.newest else floor
        cuts: Sequence[Cut] = ()
        gone: list[int] = []
        if self._caps.over and (sequencer is None or self._caps.added_since_cut >= CUT_AT):
            limit = max(limit, 2 * CUT_AT)
            cuts, gone, size = self._caps.cut(limit, state.trimmed, end, now_ms())
            state = state._replace(messages=state.messages - len(gone), bytes=state.bytes - size)
            self._cache.note_cut(gone)
        self._unfinished = False
        if end > state.trimmed and (self._retention.max_age is not None or state.is_over(self._retention)):
            state = self._trim_oldest(state, limit - len(gone), end, frozenset(gone))
            self._cache.note_cut(gone)  # again: `_trim_oldest` may just have read some of these messages
        if self._flags.purging:
            gone += _seqs.decode(self._database.value("load_purged", {"limit": limit}))
        if sequencer or gone or state != before:
            self._step(state, gone, sequencer)
        if self._flags.purging:
            self._flags.purging = self._database.value("load_purges", {}) != "{}"
        return Committed(state, sequencer.messages if sequencer else (), answers, cuts, self._has_more(state))

    def _trim_oldest(self, state: LogState, limit: int, end: int, gone: frozenset[int]) -> LogState:
        max_age = self._retention.max_age
        too_old = -1 if max_age is None else now_ms() - int(max_age * 1000)
        full = max_age is not None or not self._cache.state.dense or self._flags.purging
        oldest, cut = self._cache.oldest(state.trimmed, end, full=full), self._cache.cut
        state, self._unfinished = trim_oldest(
            state, oldest, self._retention, limit=limit, end=end, too_old=too_old, gone=gone, cut=cut
        )
        return state

    def _step(
        self, after: LogState, gone: Sequence[int], sequencer: Sequencer | None, *, register: bool = False
    ) -> None:
        """Brings the log from the cached state to the state `after`. If that fails, the log is unchanged."""
        before = self._cache.state
        messages = sequencer.messages if sequencer else ()
        keys = sequencer.new_keys if sequencer else ()
        if keys:
            self._flags.keyed = True
        step: dict[str, Any] = pack(messages)
        step["keys"] = rows_of(keys)
        step["newest"], step["newest_at"], step["trimmed"], step["bytes"] = after[:4]
        step["messages"] = after.messages
        register = register or self._unregistered.is_due(after.trimmed, gone)
        if gone or self._flags.any_deleted or register:
            step["gone"] = to_json(gone)
            step |= self._unregistered.row(before.newest) if register else NO_ROW
            step["until"] = after.newest - register_size(self._retention.max_messages)
            needs_all = self._flags.any_deleted or self._flags.keyed
            self._database.write("cutting" if needs_all else "plain_cutting", step)
        else:
            self._database.write("step" if self._flags.keyed else "plain", step)
        trimmed = before.messages + len(messages) - after.messages
        self._empty_rooms.note_trimmed(trimmed)
        self._keys.note_trimmed(trimmed)
        if register:
            self._unregistered.registered(before.newest)
        self._unregistered.add(messages)
        self._cache.learn(after, messages)

    def _register(self) -> None:
        """Registers all messages before a room is deleted: it is gone at once, and its messages must be in the
        register by then."""
        state = self._cache.state
        if self._unregistered.is_due(state.newest, ()):
            self._step(state, (), None, register=True)

    def _delete(self, name: str, parameters: dict[str, Any], cut: Cut) -> Committed:
        self._database.write(name, parameters)
        self._cache.forget()
        self._caps.drop(cut.room)
        state = self._cache.state
        return Committed(state, (), (True,), (cut,), self._has_more(state))

    def _unchanged(self, answers: Sequence[Any]) -> Committed:
        """The outcome of a job that stored and trimmed nothing."""
        state = self._cache.state
        return Committed(state, (), answers, (), self._has_more(state))

    def _has_more(self, state: LogState) -> bool:
        """Whether something is left to trim."""
        more = self._unfinished or self._flags.purging
        return more or bool(self._caps.over) or state.is_over(self._retention)

    def _clamp_times(self) -> None:
        """Moves times from the future to now, once all messages from a clock that was ahead are trimmed."""
        state = self._cache.state
        if not state.messages and state.newest_at > (now := self._clock.now(0)):
            clamp_times(self._database.connection, now)
            self._cache.forget()


def _answer(sequencer: Sequencer, request: AppendRequest) -> AppendAnswer:
    try:
        return sequencer.append(request.drafts, request.idempotency)
    except RoomcastError as error:
        return error
