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

from roomcast.log.append_queue import Answer, Request
from roomcast.log.base import Idempotency
from roomcast.log.clock import Clock
from roomcast.log.sequencer import Kept, Key, NewKey, Sequencer
from roomcast.log.sqlite.files import Files
from roomcast.log.sqlite.queries import NO_END, QUERIES, pack, to_json, unpack
from roomcast.log.sqlite.state import State
from roomcast.log.sqlite.times import begin_times
from roomcast.log.sqlite.write_cache import WriteCache
from roomcast.model.errors import LogUnavailable, RoomcastError
from roomcast.model.message import Message
from roomcast.model.retention import Retention

TRIM_BESIDE = 8
"""A commit trims twice what it adds and this many. With 32, a publish took 8 ms (p99) while a million messages
were trimmed beside 1,000 publishes a second; so 2 ms, as with nothing to trim (benchmarks/trim_latency.py)."""
TRIM_STEP = 200
"""What a step trims while nothing else is to be done."""
LOOK_SECONDS = 0.1
"""How often a busy writer looks after its files. Before each commit it would wait for the interpreter's lock once
more for each of them."""

_keys = msgspec.json.Decoder(list[tuple[str, str, str, int, int]])


class Committed(NamedTuple):
    """What a commit has done."""

    state: State
    messages: Sequence[Message]
    answers: Sequence[Answer]
    """One for each request, in order."""


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
    ) -> None:
        self._connection = connection
        self._files = files
        self._look_at = 0.0
        """When its files are to be looked after again."""
        self._retention = retention
        self._empty_rooms = empty_rooms
        self._clock = clock
        self._known = WriteCache(self._row, state)
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
        if not numbering.messages:
            return Committed(before, (), answers)
        after = self._trim(_grown(before, numbering.messages), 2 * len(numbering.messages) + TRIM_BESIDE, floor)
        return Committed(self._step(after, numbering), numbering.messages, answers)

    def trim(self, floor: int | None) -> Committed:
        """One step of trimming, not beyond `floor`."""
        self._look()
        self._forget()
        after = self._trim(self._known.state, TRIM_STEP, floor)
        return Committed(self._step(after), (), ())

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
        return Sequencer(
            self._retention,
            state.newest,
            self._clock.now(state.retained_at),
            lambda room: newest.get(room, state.forgotten),
            self._load_keys([request.idempotency for request in requests if request.idempotency]),
            self._load_messages,
        )

    def _trim(self, state: State, most: int, floor: int | None) -> State:
        """The oldest `most` messages at most, down to the cap; only what is stored already."""
        stored = self._known.state.newest
        end = min(state.trimmed + most, stored, stored if floor is None else floor)
        if end <= state.trimmed or not state.over(self._retention):
            return state
        trimmed, size = state.trimmed, state.bytes
        by_count = state.newest - self._retention.max_messages
        for length in self._known.sizes(trimmed, end):
            if trimmed >= by_count and size <= self._retention.max_bytes:
                break
            trimmed += 1
            size -= length
        return state._replace(trimmed=trimmed, bytes=size)

    def _step(self, after: State, numbering: Sequencer | None = None) -> State:
        """Brings the log from the known state to the one `after`, or leaves it as it is."""
        before = self._known.state
        keys = [_key_row(new) for new in numbering.new_keys] if numbering else []
        messages = numbering.messages if numbering else ()
        try:
            self._run("step", pack(messages) | after._asdict() | {"keys": to_json(keys)})
        except apsw.Error as error:
            self._known.forget()
            if not isinstance(error, apsw.BusyError):  # it was waited for in vain, and nothing written
                self._take_back()
            raise
        self._look_behind()
        self._maybe_empty += after.trimmed - before.trimmed
        self._known.learn(after, messages)
        return after

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

    def _begin_times(self) -> None:
        """Where the clock was ahead once, and all from then is trimmed, nothing stays behind from the future."""
        state = self._known.state
        if state.newest == state.trimmed and state.newest_at > (now := self._clock.now(0)):
            begin_times(self._connection, now)
            self._known.forget()

    def _load_keys(self, asked: Sequence[Idempotency]) -> dict[Key, Kept]:
        if not asked:
            return {}
        pairs = to_json([(idempotency.scope, idempotency.key) for idempotency in asked])
        rows = _keys.decode(self._value("load_keys", {"keys": pairs}))
        return {(scope, key): Kept(bytes.fromhex(digest), *rest) for scope, key, digest, *rest in rows}

    def _load_messages(self, kept: Kept) -> Sequence[Message]:
        parameters = {
            "after": kept.first - 1,
            "before": kept.first + kept.size,
            "limit": kept.size,
            "most_bytes": NO_END,
        }
        return unpack(*self._row("page_of_all", parameters))

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
    return state._replace(
        newest=messages[-1].seq,
        newest_at=messages[-1].stored_at,
        bytes=state.bytes + sum(len(message.body) for message in messages),
    )


def _answer(numbering: Sequencer, request: Request) -> Answer:
    try:
        return numbering.append(request.drafts, request.idempotency)
    except RoomcastError as error:
        return error


def _key_row(new: NewKey) -> tuple[str, str, str, int, int]:
    return (new.scope, new.key, new.kept.digest.hex(), new.kept.first, new.kept.size)
