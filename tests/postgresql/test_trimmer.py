"""When the trimmer makes a step, and what it remembers of one. No database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from roomcast.log.postgresql import trimmer as postgresql_trimmer
from roomcast.log.postgresql.caps import PostgresCaps
from roomcast.log.postgresql.queries import Totals
from roomcast.log.postgresql.trimmer import _URGENT, RETRY, Trimmer
from roomcast.model.retention import Retention, RoomRule
from tests.postgresql.fakes import FakeSession, tail_on

RULES = (RoomRule("*", max_messages=2),)
TRIMMED: dict[str, Any] = {
    "still_over": ["b"],
    "more": False,
    "trimmed": 0,
    "messages": 7,
    "bytes": 0,
    "changes": 0,
}


class Trimming(FakeSession):
    """A trimmer on a log with two rooms over their rules. Its database answers each step with `TRIMMED`."""

    def __init__(self) -> None:
        super().__init__(trim=[[TRIMMED]])
        self.caps = PostgresCaps(Retention(rooms=RULES))
        self.caps.over = {"a": None, "b": None}
        self.on_trim: Callable[[], None] = lambda: None
        tail = tail_on(self)
        self.trimmer = Trimmer(self, tail, tail._consumers, self.caps, 10, lambda: None)

    async def _call(self, name: str, *values: object) -> Any:
        if name == "trim":
            self.on_trim()
        return await super()._call(name, *values)


@pytest.fixture
async def trimming() -> AsyncIterator[Trimming]:
    one = Trimming()
    yield one
    one.trimmer.stop()


async def test_a_room_that_no_longer_exceeds_its_rule_is_forgotten(trimming: Trimming) -> None:
    await trimming.trimmer.step()
    assert list(trimming.caps.over) == ["b"]


async def test_a_step_that_new_rules_overtake_forgets_no_room_of_theirs(trimming: Trimming) -> None:
    def apply() -> None:
        trimming.caps.apply(Retention(rooms=RULES))
        trimming.caps.over["a"] = None

    trimming.on_trim = apply
    await trimming.trimmer.step()
    assert list(trimming.caps.over) == ["a"]


async def test_steady_publishing_puts_a_step_off_only_for_a_while(
    trimming: Trimming, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimming.trimmer.schedule_after_pause()
    assert not trimming.trimmer.due
    monkeypatch.setattr(postgresql_trimmer, "_LONGEST", -1)
    trimming.trimmer.schedule_after_pause()
    assert (trimming.trimmer.due, trimming.trimmer.urgent) == (True, True)
    await trimming.trimmer.step()
    assert not trimming.trimmer.due


async def test_a_step_that_trims_nothing_is_repeated_later_and_another_one_soon(trimming: Trimming) -> None:
    def pause() -> float:
        timer = trimming.trimmer._timer
        assert timer
        return timer.when() - asyncio.get_running_loop().time()

    await trimming.trimmer.step()
    assert pause() < RETRY / 2
    await trimming.trimmer.step()
    assert pause() > RETRY / 2


async def test_empty_rooms_are_counted_only_if_there_may_be_many(trimming: Trimming) -> None:
    assert [trimming.trimmer.next_rooms_to_keep() for _ in range(2)] == [10, -1]
    trimming.trimmer.note_append(Totals(messages=5), Totals(messages=4), 0)
    assert trimming.trimmer.next_rooms_to_keep() == -1
    trimming.trimmer.note_append(Totals(messages=5), Totals(messages=5), 1)
    assert trimming.trimmer.next_rooms_to_keep() == 10


async def test_a_room_that_was_deleted_may_be_one_too_many(trimming: Trimming) -> None:
    trimming.trimmer.next_rooms_to_keep()
    trimming.trimmer.request(2)
    assert trimming.trimmer.next_rooms_to_keep() == 10


async def test_a_stopped_trimmer_schedules_nothing(trimming: Trimming, monkeypatch: pytest.MonkeyPatch) -> None:
    trimming.trimmer.schedule_after_pause()
    trimming.trimmer.stop()
    monkeypatch.setattr(postgresql_trimmer, "_LONGEST", -1)
    trimming.trimmer.schedule_after_pause()
    assert (trimming.trimmer.due, trimming.trimmer._timer) == (False, None)


async def test_trimming_is_urgent_once_many_messages_exceed_the_rules_of_rooms(trimming: Trimming) -> None:
    for trimming.caps.backlog in (_URGENT - 1, _URGENT):
        assert trimming.trimmer.urgent is (trimming.caps.backlog == _URGENT)


async def test_a_step_that_is_put_off_is_overdue_from_its_first_time_until_it_is_made(trimming: Trimming) -> None:
    trimming.trimmer.schedule_after_pause()
    first = trimming.trimmer._wanted_since
    assert first is not None
    trimming.trimmer._wanted_since = earlier = first - postgresql_trimmer._LONGEST / 2
    trimming.trimmer.schedule_after_pause()
    assert trimming.trimmer._wanted_since == earlier
    trimming.trimmer._wanted_since = first - postgresql_trimmer._LONGEST
    assert trimming.trimmer.urgent
    await trimming.trimmer.step()
    assert not trimming.trimmer.urgent
