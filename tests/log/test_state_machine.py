"""Any order of appends, reads, tails, restarts and smaller caps, against a model that forgets nothing."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from itertools import islice
from typing import Any, ClassVar, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from roomcast.log import clock
from roomcast.log.base import Appended, Batch, Idempotency, Log, Loss, RoomSort, RoomStats
from roomcast.model.errors import KeyReused, TooLarge
from roomcast.model.message import Draft, Message
from roomcast.model.retention import Retention
from tests.log.acting import listed, next_batch, trimmed
from tests.log.conftest import BACKENDS

T = TypeVar("T")

ROOMS = ["a", "ab", "c"]
prefixes = st.sampled_from(["", "a", "ab", "d"])
some_rooms = st.frozensets(st.sampled_from([*ROOMS, "never"]), min_size=1)
bodies = st.binary(max_size=30)
some_drafts = st.lists(
    st.builds(Draft, st.sampled_from(ROOMS), st.none() | st.just("t"), bodies), min_size=1, max_size=6
)
some_keys = st.none() | st.builds(
    Idempotency, st.sampled_from("kl"), st.sampled_from([b"1", b"2"]), st.sampled_from(["", "s"])
)
retentions = st.builds(Retention, st.integers(1, 12), st.integers(30, 200))
anywhere = st.floats(0, 1)
"""A place in the log, as a part of all there ever was."""


class KeptKey(NamedTuple):
    digest: bytes
    messages: Sequence[Message]


class LogMachine(RuleBasedStateMachine):
    """The log beside its model."""

    kind: ClassVar[str]
    empty_rooms: ClassVar[int] = 100

    @initialize(retention=retentions)
    def open(self, retention: Retention) -> None:
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.stored: list[Message] = []
        """Every message there ever was; its index is its seq - 1."""
        self.keys: dict[tuple[str, str], KeptKey] = {}
        self.trimmed = 0
        self.tail: AsyncIterator[Batch] | None = None
        self.delivered = 0
        """The last message the tail gave."""
        self.asked_past = 0
        """The last message the tail was asked past."""
        self.time = 1_000
        """What the clock says, in ms."""
        self.clock = pytest.MonkeyPatch()
        self.clock.setattr(clock, "clock", lambda: self.time * 1_000_000)
        self._open(retention)

    def _open(self, retention: Retention, *, new_epoch: bool = False) -> None:
        path = f"{self.directory.name}/log.db"
        self.retention = retention
        options = {"empty_rooms": self.empty_rooms, "synchronous": "off", "new_epoch": new_epoch}
        self.log: Log = self.run(self._opened(path, retention, options))

    async def _opened(self, path: str, retention: Retention, options: dict[str, Any]) -> Log:
        return await BACKENDS[self.kind]("log", path, retention=retention, **options)

    def run(self, action: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(action)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.log.close())
            self.runner.close()
            self.directory.cleanup()
            self.clock.undo()

    # The model

    @property
    def newest(self) -> int:
        return len(self.stored)

    @property
    def retained(self) -> list[Message]:
        return self.stored[self.trimmed :]

    def over(self) -> bool:
        return (
            len(self.retained) > self.retention.max_messages
            or sum(len(m.body) for m in self.retained) > self.retention.max_bytes
        )

    def trim(self) -> None:
        floor = self.asked_past if self.tail else self.newest
        while self.over() and self.trimmed < floor:
            self.trimmed += 1
        self.keys = {k: v for k, v in self.keys.items() if v.messages[0].seq > self.trimmed}

    def begin_times(self) -> None:
        """What is from the future is from now."""
        self.stored = [m._replace(stored_at=min(m.stored_at, self.time)) for m in self.stored]
        for name, (digest, messages) in self.keys.items():
            first = messages[0].seq - 1
            self.keys[name] = KeptKey(digest, self.stored[first : first + len(messages)])

    def settle(self) -> None:
        """Trims the model, and waits until the log has come as far."""
        self.trim()
        self.run(trimmed(self.log, self.trimmed))

    def expect(self, drafts: Sequence[Draft], idempotency: Idempotency | None, answer: object) -> None:
        """Checks an answer, and stores what it stored."""
        kept = self.keys.get((idempotency.scope, idempotency.key)) if idempotency else None
        size = sum(len(draft.body) for draft in drafts)
        if kept and idempotency and kept.digest != idempotency.digest:
            assert isinstance(answer, KeyReused)
        elif kept:
            assert answer == (kept.messages, True)
        elif len(drafts) > self.retention.max_messages or size > self.retention.max_bytes:
            assert isinstance(answer, TooLarge)
        else:
            self.store(drafts, idempotency, answer)

    def store(self, drafts: Sequence[Draft], idempotency: Idempotency | None, answer: object) -> None:
        assert isinstance(answer, Appended)
        assert not answer.repeated
        previous = self.retained[-1].stored_at if self.retained else 0
        for draft, message in zip(drafts, answer.messages, strict=True):
            assert message.seq == self.newest + 1
            assert (message.room, message.type, message.body) == draft
            assert message.stored_at == max(previous, self.time)
            self.check_prev(message)
            self.stored.append(message)
        if idempotency:
            kept = KeptKey(idempotency.digest, list(answer.messages))
            self.keys[idempotency.scope, idempotency.key] = kept

    def check_prev(self, message: Message) -> None:
        prev = max((m.seq for m in self.stored if m.room == message.room), default=0)
        assert message.prev >= prev if self.may_forget else message.prev == prev
        assert message.prev < message.seq

    @property
    def may_forget(self) -> bool:
        return self.empty_rooms < len(ROOMS)

    def place(self, part: float) -> int:
        return round(part * self.newest)

    def lost(self, room: str, after: int, since: int = 0) -> int:
        gone = self.stored[after : self.trimmed]
        return sum(m.room == room and m.stored_at >= since for m in gone)

    def check_losses(self, losses: Sequence[Loss], names: frozenset[str], after: int, since: int = 0) -> None:
        at_most = dict(losses)
        assert list(at_most) == sorted(at_most)
        assert set(at_most) <= names
        assert all(count >= 1 for count in at_most.values())
        for room in names:
            truth = self.lost(room, after, since)
            assert at_most.get(room, 0) >= truth
            if not self.may_forget:
                assert (room in at_most) == (truth > 0)
            if {m.room for m in self.stored} == {room} and not since:
                assert at_most.get(room, 0) == truth

    def expected_rooms(self, sort: RoomSort, prefix: str = "") -> list[RoomStats]:
        last = {m.room: m for m in self.retained if m.room.startswith(prefix)}
        counts = Counter(m.room for m in self.retained)
        found = [RoomStats(room, counts[room], m.seq, m.stored_at) for room, m in last.items()]
        return sorted(found, key=lambda stats: stats.room if sort == "name" else -stats.newest)

    # What can happen

    @rule(drafts=some_drafts, idempotency=some_keys)
    def append(self, drafts: list[Draft], idempotency: Idempotency | None) -> None:
        self.append_together([(drafts, idempotency)])

    @rule(requests=st.lists(st.tuples(some_drafts, some_keys), min_size=1, max_size=5))
    def append_together(self, requests: list[tuple[list[Draft], Idempotency | None]]) -> None:
        async def together() -> list[Any]:
            return await asyncio.gather(*(self.log.append(*r) for r in requests), return_exceptions=True)

        if not self.retained:
            self.begin_times()
        for (drafts, idempotency), answer in zip(requests, self.run(together()), strict=True):
            self.expect(drafts, idempotency, answer)
            if self.kind == "memory":  # Each append is a commit of its own here, and trims.
                self.trim()
        self.settle()

    @rule(names=some_rooms, after=anywhere, limit=st.integers(1, 6), before=st.none() | anywhere)
    def read(self, names: frozenset[str], after: float, limit: int, before: float | None) -> None:
        start = self.place(after)
        end = None if before is None else self.place(before) + 1
        page = self.run(self.log.read(names, start, limit, end))
        last = self.newest if end is None else max(start, end - 1)
        expected = [m for m in self.retained if m.room in names and start < m.seq <= last]
        assert list(page.messages) == expected[:limit]
        assert page.position == (page.messages[-1].seq if len(page.messages) == limit else last)
        if end is None:
            self.check_losses(page.losses, names, start)

    @rule(prefix=prefixes, limit=st.integers(1, 3), after=st.sampled_from(["", *ROOMS, "a0"]))
    def rooms_by_name(self, prefix: str, limit: int, after: str) -> None:
        found = self.run(self.log.rooms(prefix, "name", after, limit))
        expected = [stats for stats in self.expected_rooms("name", prefix) if stats.room > after]
        assert found == expected[:limit]

    @rule(prefix=prefixes, limit=st.integers(1, 3), after=anywhere)
    def rooms_by_newest(self, prefix: str, limit: int, after: float) -> None:
        found = self.run(self.log.rooms(prefix, "newest", self.place(after), limit))
        expected = [stats for stats in self.expected_rooms("newest", prefix) if stats.newest < self.place(after)]
        assert found == expected[:limit]

    @rule(names=some_rooms, count=st.integers(0, 6))
    def seek_newest(self, names: frozenset[str], count: int) -> None:
        position = self.run(self.log.seek_newest(names, count))
        newest = [m for m in self.retained if m.room in names]
        after = [m for m in newest if m.seq > position]
        assert after == newest[len(newest) - min(count, len(newest)) :]
        assert position >= self.trimmed or not self.stored

    @precondition(lambda self: self.stored)
    @rule(names=some_rooms, part=anywhere, late=st.integers(-1, 1))
    def seek_time(self, names: frozenset[str], part: float, late: int) -> None:
        since = self.stored[min(self.place(part), self.newest - 1)].stored_at + late
        start = self.run(self.log.seek_time(names, since))
        assert [m for m in self.retained if m.seq > start.position] == [
            m for m in self.retained if m.stored_at >= since
        ]
        self.check_losses(start.losses, names, 0, since)

    @rule(part=anywhere)
    def open_tail(self, part: float) -> None:
        self.asked_past = self.delivered = max(self.place(part), self.trimmed)
        self.tail = self._tail(self.asked_past)
        self.settle()

    def _tail(self, after: int) -> AsyncIterator[Batch]:
        async def opened() -> AsyncIterator[Batch]:
            return self.log.tail(after)

        return self.run(opened())

    @precondition(lambda self: self.tail and self.delivered < self.newest)
    @rule()
    def follow(self) -> None:
        assert self.tail
        messages: Sequence[Message] = ()
        while not messages:
            self.asked_past = self.delivered
            messages, _ = self.run(next_batch(self.tail))
        assert list(messages) == list(islice(self.stored, self.delivered, self.delivered + len(messages)))
        self.delivered = messages[-1].seq
        self.settle()

    @precondition(lambda self: self.tail)
    @rule()
    def close_tail(self) -> None:
        self.run(self.tail.aclose())  # type: ignore[union-attr]
        self.tail = None
        self.settle()

    @rule(by=st.sampled_from([-70_000, -1, 1, 2, 70_000]))
    def set_clock(self, by: int) -> None:
        self.time = max(0, self.time + by)

    @rule(retention=retentions, new_epoch=st.booleans())
    def restart(self, retention: Retention, new_epoch: bool) -> None:
        if self.kind == "memory":
            return
        self.run(self.log.close())
        self.tail = None
        self._open(retention, new_epoch=new_epoch)
        if new_epoch:
            self.begin_times()
        self.settle()

    @invariant()
    def bounds_and_rooms_are_exact(self) -> None:
        if not hasattr(self, "log"):
            return
        size = sum(len(m.body) for m in self.retained)
        assert self.run(self.log.bounds()) == (self.trimmed, self.newest, size)
        assert self.run(listed(self.log)) == self.expected_rooms("name")
        assert self.run(listed(self.log, "", "newest")) == self.expected_rooms("newest")


class MemoryMachine(LogMachine):
    kind = "memory"


class ForgetfulMemoryMachine(LogMachine):
    kind = "memory"
    empty_rooms = 1


class SqliteMachine(LogMachine):
    kind = "sqlite"


class ForgetfulSqliteMachine(LogMachine):
    kind = "sqlite"
    empty_rooms = 1


def _limits(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


TestMemory = MemoryMachine.TestCase
TestMemory.settings = _limits(60)
TestForgetfulMemory = ForgetfulMemoryMachine.TestCase
TestForgetfulMemory.settings = _limits(40)
TestSqlite = SqliteMachine.TestCase
TestSqlite.settings = _limits(25)
TestForgetfulSqlite = ForgetfulSqliteMachine.TestCase
TestForgetfulSqlite.settings = _limits(15)
