"""Any order of appends, deletes, reads, consumers, restarts and new caps, compared with a model that keeps
everything."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from roomcast.delivery.gap import Missing, Opening, PendingLosses
from roomcast.log import clock, sweep
from roomcast.log.base import Appended, Idempotency, Log, LogConsumer, Page, RoomSort, RoomStats
from roomcast.model.errors import KeyReused, TooLarge
from roomcast.model.message import Draft, Message
from roomcast.model.retention import Retention, RoomRule
from roomcast.model.rooms import Selection
from tests.log.conftest import BACKENDS
from tests.log.steps import listed, next_batch, until
from tests.postgresql.database import Cluster

T = TypeVar("T")

ROOMS = ["a", "ab", "c"]
prefixes = st.sampled_from(["", "a", "ab", "d"])
some_names = st.frozensets(st.sampled_from([*ROOMS, "never"]), max_size=3)
some_rooms = st.builds(Selection.of, some_names, st.lists(prefixes, max_size=2)).filter(any)
bodies = st.binary(max_size=30)
some_drafts = st.lists(
    st.builds(Draft, st.sampled_from(ROOMS), st.none() | st.just("t"), bodies), min_size=1, max_size=6
)
some_keys = st.none() | st.builds(
    Idempotency, st.sampled_from("kl"), st.sampled_from([b"1", b"2"]), st.sampled_from(["", "s"])
)
caps = st.builds(Retention, st.integers(1, 12), st.integers(30, 200), st.none(), st.just(()))
ages = st.none() | st.integers(1, 60)


def _rule(match: str) -> st.SearchStrategy[RoomRule]:
    return st.builds(
        RoomRule, st.just(match), st.none() | st.integers(1, 6), st.none() | st.integers(30, 90), ages
    )


_rules = st.builds(lambda *rules: rules, _rule("ab"), _rule("a*")) | st.just(())
# Never caps of the whole log together with rules: the result would depend on which is applied first.
retentions = caps | st.builds(Retention, st.just(10**6), st.just(10**9), ages, _rules)
anywhere = st.floats(0, 1)
"""A place in the log, as a fraction of all messages that there ever were."""


class KeptKey(NamedTuple):
    digest: bytes
    messages: Sequence[Message]


class LogMachine(RuleBasedStateMachine):
    """The log and its model."""

    kind: ClassVar[str]
    empty_rooms: ClassVar[int] = 100

    @initialize(retention=retentions)
    def open(self, retention: Retention) -> None:
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.stored: list[Message] = []
        """Every message there ever was; its index is its seq - 1."""
        self.keys: dict[tuple[str, str], KeptKey] = {}
        self.gone: set[int] = set()
        """The seqs that are trimmed, or were deleted with their room."""
        self.deleted: set[int] = set()
        """The seqs that were deleted, singly or with their room."""
        self.tail: LogConsumer | None = None
        self.delivered = 0
        """The last message that the consumer was given."""
        self.asked_past = 0
        """The last message that the consumer has delivered."""
        self.time = 1_000
        """The clock's time in ms."""
        self.clock = pytest.MonkeyPatch()
        self.clock.setattr(clock, "clock", lambda: self.time * 1_000_000)
        self.clock.setattr(sweep, "MOST_PAUSE", 0.001)
        self.clock.setattr(sweep, "_PAUSE_PER_WALK", 0)
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
    def kept(self) -> list[Message]:
        """The messages that the caps count; deleted ones are empty there."""
        return [
            m._replace(body=b"") if m.seq in self.deleted else m for m in self.stored if m.seq not in self.gone
        ]

    @property
    def retained(self) -> list[Message]:
        return [m for m in self.kept if m.seq not in self.deleted]

    def trim(self) -> None:
        floor = self.asked_past if self.tail else self.newest
        for name in ROOMS:
            rule = next((rule for rule in self.retention.rooms if rule.matches(name)), None)
            if rule:
                self._trim([m for m in self.kept if m.room == name], floor, *rule[1:])
        self._trim(self.kept, floor, *self.retention[:3])

    def _trim(
        self, kept: Sequence[Message], floor: int, messages: int | None, size: int | None, age: float | None
    ) -> None:
        left, bytes_left = len(kept), sum(len(m.body) for m in kept)
        for message in kept:
            over = (messages is not None and left > messages) or (size is not None and bytes_left > size)
            if message.seq > floor or not (
                over or (age is not None and message.stored_at < self.time - age * 1_000)
            ):
                return
            self.gone.add(message.seq)
            left -= 1
            bytes_left -= len(message.body)

    def begin_times(self) -> None:
        """A time in the future counts as now."""
        self.stored = [m._replace(stored_at=min(m.stored_at, self.time)) for m in self.stored]
        for name, (digest, messages) in self.keys.items():
            first = messages[0].seq - 1
            self.keys[name] = KeptKey(digest, self.stored[first : first + len(messages)])

    def settle(self) -> None:
        """Trims the model, and waits until the log has come as far."""
        self.trim()
        held = (self.newest, sum(len(m.body) for m in self.kept), len(self.kept))

        async def settled() -> bool:
            return (await self.log.bounds())[1:4] == held

        self.run(until(settled))

    def expect(self, drafts: Sequence[Draft], idempotency: Idempotency | None, answer: object) -> None:
        """Checks an answer, and stores what it stored."""
        kept = self.keys.get((idempotency.scope, idempotency.key)) if idempotency else None
        if kept and kept.messages[0].seq in self.gone and kept.messages[0].stored_at <= self.now - 600_000:
            # Where its room was deleted, its row goes a moment later.
            known = kept.messages[0].seq in self.deleted and getattr(answer, "repeated", True)
            kept = kept if known and not isinstance(answer, TooLarge) else None
        size = sum(len(draft.body) for draft in drafts)
        if kept and idempotency and kept.digest != idempotency.digest:
            assert isinstance(answer, KeyReused)
        elif kept:
            assert isinstance(answer, Appended)
            assert answer.repeated
            expected = [(kept.messages[0].seq + n, kept.messages[0].stored_at) for n in range(len(drafts))]
            assert [(m.seq, m.stored_at) for m in answer.messages] == expected
            assert [(m.room, m.type, m.body) for m in answer.messages] == drafts
        elif (
            len(drafts) > self.retention.max_messages or size > self.retention.max_bytes or self.too_large(drafts)
        ):
            assert isinstance(answer, TooLarge)
        else:
            self.store(drafts, idempotency, answer)

    def too_large(self, drafts: Sequence[Draft]) -> bool:
        for name in ROOMS:
            rule = next((rule for rule in self.retention.rooms if rule.matches(name)), None)
            own = [len(draft.body) for draft in drafts if draft.room == name]
            if rule and (len(own) > (rule.max_messages or 99) or sum(own) > (rule.max_bytes or 9_999)):
                return True
        return False

    @property
    def now(self) -> int:
        """When a message is stored."""
        return max(self.stored[-1].stored_at if self.kept else 0, self.time)

    def store(self, drafts: Sequence[Draft], idempotency: Idempotency | None, answer: object) -> None:
        assert isinstance(answer, Appended)
        assert not answer.repeated
        now = self.now
        for draft, message in zip(drafts, answer.messages, strict=True):
            assert message.seq == self.newest + 1
            assert (message.room, message.type, message.body) == draft
            assert message.stored_at == now
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

    def check_losses(self, page: Page, selection: Selection, after: int) -> None:
        told: dict[str, list[Missing]] = {}
        for one in PendingLosses(Opening(after)).missing(page):
            told.setdefault(one.room, []).append(one)
        # Of rooms that are followed by prefix, and that the log has forgotten, no one is named.
        forgotten = bool(told.pop("", None))
        assert not forgotten or (self.may_forget and selection.prefixes)
        assert all(map(selection.covers, told))
        for room in filter(selection.covers, [*ROOMS, "never"]):
            gone = {m.seq for m in self.stored if m.room == room and m.seq in self.gone and m.seq > after}
            if gone and max(gone) > page.position:
                gone.clear()  # told later
            own = {m.seq for m in self.stored if m.room == room} - self.gone
            single = {seq for seq in own & self.deleted if after < seq <= page.position}
            at_most = sum(one.at_most for one in told.get(room, ()))
            assert at_most >= len(gone) + len(single) or (forgotten and room not in selection.rooms)
            if not self.may_forget:
                if after < page.oldest:  # the client cannot have been cut in the middle of a replay
                    assert at_most == len(gone) + len(single)
                assert (room in told) == bool(gone or single)
                assert all(one.deleted for one in told.get(room, ())) == (gone <= self.deleted)

    def expected_rooms(self, sort: RoomSort, prefix: str = "") -> list[RoomStats]:
        last = {m.room: m for m in self.kept if m.room.startswith(prefix)}
        first = {m.room: m.stored_at for m in reversed(self.kept)} if self.retention.rooms else {}
        counts = Counter(m.room for m in self.kept)
        found = [RoomStats(r, counts[r], m.seq, m.stored_at, first.get(r, 0)) for r, m in last.items()]
        return sorted(found, key=lambda stats: stats.room if sort == "name" else -stats.newest)

    # What can happen

    @rule(drafts=some_drafts, idempotency=some_keys)
    def append(self, drafts: list[Draft], idempotency: Idempotency | None) -> None:
        self.append_together([(drafts, idempotency)])

    @rule(requests=st.lists(st.tuples(some_drafts, some_keys), min_size=1, max_size=5))
    def append_together(self, requests: list[tuple[list[Draft], Idempotency | None]]) -> None:
        async def together() -> list[Any]:
            return await asyncio.gather(*(self.log.append(*r) for r in requests), return_exceptions=True)

        if not self.kept:
            self.begin_times()
        for (drafts, idempotency), answer in zip(requests, self.run(together()), strict=True):
            self.expect(drafts, idempotency, answer)
            if self.kind == "memory":  # Each append is a commit of its own here, and trims.
                self.trim()
        self.settle()

    @rule(selection=some_rooms, after=anywhere, limit=st.integers(1, 6), before=st.none() | anywhere)
    def read(self, selection: Selection, after: float, limit: int, before: float | None) -> None:
        start = self.place(after)
        end = None if before is None else self.place(before) + 1
        page = self.run(self.log.read(selection, start, limit, end))
        last = self.newest if end is None else max(start, end - 1)
        expected = [m for m in self.retained if selection.covers(m.room) and start < m.seq <= last]
        if list(page.messages) != expected[:limit]:  # what was deleted is counted, too
            assert self.deleted
            assert page.messages
            assert list(page.messages) == expected[: len(page.messages)]
            assert page.messages[-1].seq <= page.position < expected[len(page.messages)].seq
        elif not self.deleted:
            assert page.position == (page.messages[-1].seq if len(page.messages) == limit else last)
        if end is None:
            self.check_losses(page, selection, start)

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

    @rule(selection=some_rooms, count=st.integers(0, 6))
    def seek_newest(self, selection: Selection, count: int) -> None:
        position = self.run(self.log.seek_newest(selection, count))
        newest = [m for m in self.retained if selection.covers(m.room)]
        after = [m for m in newest if m.seq > position]
        assert after == newest[len(newest) - min(count, len(newest)) :]

    @precondition(lambda self: self.stored)
    @rule(selection=some_rooms, part=anywhere, late=st.integers(-1, 1))
    def seek_time(self, selection: Selection, part: float, late: int) -> None:
        since = self.stored[min(self.place(part), self.newest - 1)].stored_at + late
        position = self.run(self.log.seek_time(selection, since))
        own = [m for m in self.retained if selection.covers(m.room)]
        assert [m for m in own if m.seq > position] == [m for m in own if m.stored_at >= since]
        page = self.run(self.log.read(selection, position, 1_000))
        gone = [m for m in self.stored if m.seq in self.gone and m.stored_at >= since]
        lost = {m.room for m in gone if selection.covers(m.room)}
        told = {one.room for one in PendingLosses(Opening(position)).missing(page)}
        assert told >= (lost & selection.rooms if "" in told else lost)

    @precondition(lambda self: self.stored)
    @rule(part=anywhere)
    def delete(self, part: float) -> None:
        seq = max(1, self.place(part))
        there = any(m.seq == seq for m in self.retained)
        assert self.run(self.log.delete(seq)) == there
        if there:
            self.deleted.add(seq)
        assert self.run(self.log.get(seq)) is None
        self.settle()

    @rule(room=st.sampled_from(ROOMS))
    def delete_room(self, room: str) -> None:
        self.run(self.log.delete_room(room))
        own = {m.seq for m in self.kept if m.room == room}
        self.gone |= own
        self.deleted |= own
        self.settle()

    @rule(retention=st.builds(Retention, st.just(1), st.just(1), ages, _rules))
    def keep(self, retention: Retention) -> None:
        if self.retention.max_messages < 10**6:
            return
        self.retention = self.retention._replace(max_age=retention.max_age, rooms=retention.rooms)
        self.run(self._kept(self.retention))
        self.settle()

    async def _kept(self, retention: Retention) -> None:
        self.log.prepare_rules(retention)()

    @rule(part=anywhere)
    def open_tail(self, part: float) -> None:
        if self.tail:
            self.close_tail()  # the messages that it held back must go before the next one opens
        self.asked_past = self.delivered = max(self.place(part), self.run(self.log.bounds()).trimmed)
        self.gone_before = set(self.gone)
        """The messages that were gone before the consumer began."""
        self.tail = self._tail(self.asked_past)
        self.settle()

    def _tail(self, after: int) -> LogConsumer:
        async def opened() -> LogConsumer:
            return self.log.consumer("test", after)

        return self.run(opened())

    @precondition(lambda self: self.tail and self.delivered < self.newest)
    @rule()
    def follow(self) -> None:
        assert self.tail
        self.asked_past = self.delivered
        batch = self.run(next_batch(self.tail))
        came = [m for m in self.stored if self.delivered < m.seq <= batch.position]
        given = {m.seq for m in batch.messages}
        assert list(batch.messages) == [m for m in came if m.seq in given]
        assert {m.seq for m in came} - given <= self.deleted | self.gone_before
        self.delivered = max(self.delivered, batch.position)
        self.settle()

    @precondition(lambda self: self.tail)
    @rule()
    def close_tail(self) -> None:
        assert self.tail
        self.run(self.tail.aclose())
        self.tail = None
        self.settle()

    @rule(by=st.sampled_from([-70_000, -1, 1, 2, 20_000, 700_000]))
    def set_clock(self, by: int) -> None:
        self.time = max(0, self.time + by)
        self.settle()

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


class PostgresqlMachine(LogMachine):
    kind = "postgresql"
    cluster: ClassVar[Cluster]

    async def _opened(self, path: str, retention: Retention, options: dict[str, Any]) -> Log:
        if not hasattr(self, "url"):
            self.url = self.cluster.take()
        return await BACKENDS[self.kind](self.url, "//", retention=retention, **options)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "url"):
            self.cluster.give_back(self.url)


class ForgetfulPostgresqlMachine(PostgresqlMachine):
    empty_rooms = 1


@pytest.fixture(scope="session")
def cluster_of_machines(postgresql: Cluster) -> None:
    PostgresqlMachine.cluster = postgresql


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
on_postgresql = pytest.mark.usefixtures("cluster_of_machines")
TestPostgresql = on_postgresql(PostgresqlMachine.TestCase)
TestPostgresql.settings = _limits(6)
TestForgetfulPostgresql = on_postgresql(ForgetfulPostgresqlMachine.TestCase)
TestForgetfulPostgresql.settings = _limits(4)


# Failures that the machine has found


@pytest.fixture(params=[MemoryMachine, SqliteMachine])
def machine(request: pytest.FixtureRequest) -> Iterator[LogMachine]:
    machine: LogMachine = request.param()
    yield machine
    machine.teardown()


def test_a_message_removed_by_two_caps_at_once_is_counted_once(machine: LogMachine) -> None:
    machine.open(retention=Retention(10**6, 10**9, 34, (RoomRule("a*", None, None, 54),)))
    machine.append(drafts=[Draft("a", None, b"x" * 30)], idempotency=None)
    machine.append(drafts=[Draft("c", None, b"x"), Draft("a", None, b"y")], idempotency=None)
    machine.set_clock(by=700_000)
    machine.append(drafts=[Draft("a", None, b"z")], idempotency=None)
    machine.bounds_and_rooms_are_exact()


def test_a_new_rule_removes_messages_once_a_consumer_no_longer_holds_them(machine: LogMachine) -> None:
    machine.open(retention=Retention(10**6, 10**9, None, ()))
    machine.open_tail(part=0)
    machine.append(drafts=[Draft("a", None, b"x")] * 6, idempotency=None)
    machine.keep(retention=Retention(10**6, 10**9, None, (RoomRule("a", 2),)))
    assert len(machine.kept) == 6
    machine.close_tail()
    assert len(machine.kept) == 2


@pytest.mark.parametrize("nothing", ["refused", "deleted", "there is none"])
def test_messages_that_a_consumer_held_go_even_after_a_job_that_did_nothing(
    machine: LogMachine, nothing: str
) -> None:
    machine.open(retention=Retention(3, 200, None, ()))
    machine.append(drafts=[Draft("a", None, b"x")] * 3, idempotency=None)
    machine.open_tail(part=0)
    machine.append(drafts=[Draft("a", None, b"x")] * 3, idempotency=None)
    if nothing == "refused":
        machine.append(drafts=[Draft("a", None, b"x")] * 4, idempotency=None)
    elif nothing == "deleted":
        machine.delete(part=0.5)
    else:
        machine.delete_room(room="c")
    machine.close_tail()
    assert len(machine.kept) == 3


def test_a_key_whose_message_is_gone_is_not_from_the_future(machine: LogMachine) -> None:
    machine.open(retention=Retention(12, 200, None, ()))
    again = ([Draft("a", None, b"")], Idempotency("k", b"1", ""))
    machine.append(*again)
    machine.delete_room(room="a")
    machine.set_clock(by=-70_000)
    machine.append(*again)
