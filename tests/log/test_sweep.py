"""When all rooms are walked (`log/sweep.py`), on a loop whose time the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from roomcast.log.sweep import MOST_PAUSE, Sweep
from roomcast.model.errors import LogUnavailable
from roomcast.model.retention import Retention, RoomRule


class Timer:
    """A timer that fires when the test calls `call`."""

    def __init__(self, delay: float, call: Callable[[], None]) -> None:
        self.delay = delay
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """The methods of an event loop that a sweep needs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay, call))
        return self.timers[-1]


class Step:
    """The future of a step, which is done."""

    def __init__(
        self, reached: str | None = None, error: Exception | None = None, cancelled: bool = False
    ) -> None:
        self.reached = reached
        self.error = error
        self.is_cancelled = cancelled

    def result(self) -> str | None:
        return self.reached

    def exception(self) -> Exception | None:
        return self.error

    def cancelled(self) -> bool:
        return self.is_cancelled


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


def test_a_walk_goes_from_room_to_room_and_ends_where_there_are_no_more(loop: Loop) -> None:
    steps: list[str] = []
    sweep = Sweep(steps.append)
    sweep.begin()
    sweep.stepped("a")
    sweep.stepped("b")
    sweep.stepped(None)
    assert steps == ["", "a", "b"]
    sweep.stepped("late")
    assert (steps, loop.timers) == (["", "a", "b"], [])


def test_a_walk_requested_during_a_walk_follows_it_once(loop: Loop) -> None:
    steps: list[str] = []
    sweep = Sweep(steps.append)
    for _ in range(3):
        sweep.begin()
    sweep.stepped(None)
    sweep.stepped(None)
    assert steps == ["", ""]


@pytest.mark.parametrize(("age", "pause"), [(1.0, 0.05), (20.0, 1.0), (3600.0, MOST_PAUSE)])
def test_the_pause_between_walks_is_short_beside_the_least_age(loop: Loop, age: float, pause: float) -> None:
    steps: list[str] = []
    sweep = Sweep(steps.append)
    sweep.least_age = age
    sweep.begin()
    sweep.stepped(None)
    [timer] = loop.timers
    assert timer.delay == pause
    timer.call()
    assert steps == ["", ""]


def test_a_long_walk_is_followed_by_a_longer_pause(loop: Loop) -> None:
    sweep = Sweep(lambda after: None)
    sweep.least_age = 1.0
    loop.now = 100.0
    sweep.begin()
    loop.now += 0.5
    sweep.stepped(None)
    assert loop.timers[0].delay == 10.0


def test_a_stopped_sweep_begins_no_walk(loop: Loop) -> None:
    steps: list[str] = []
    sweep = Sweep(steps.append)
    sweep.least_age = 1.0
    sweep.begin()
    sweep.stepped(None)
    sweep.stop()
    assert loop.timers[0].cancelled
    sweep.begin()
    sweep.stepped("a")
    assert steps == [""]


def test_a_sweep_stopped_during_a_walk_takes_no_further_step(loop: Loop) -> None:
    steps: list[str] = []
    sweep = Sweep(steps.append)
    sweep.begin()
    sweep.stop()
    sweep.stepped("a")
    assert (steps, loop.timers) == ([""], [])


@pytest.mark.parametrize(
    ("retention", "walks", "timers"),
    [
        (Retention(), 0, 0),
        (Retention(rooms=(RoomRule("a", max_messages=1),)), 1, 0),
        (Retention(max_age=20.0), 1, 1),
        (Retention(rooms=(RoomRule("a", max_age=20.0),)), 1, 1),
    ],
    ids=["no rules", "a rule", "an age", "the age of a rule"],
)
def test_rooms_are_walked_once_for_rules_and_repeatedly_for_ages(
    loop: Loop, retention: Retention, walks: int, timers: int
) -> None:
    steps: list[str] = []
    sweep = Sweep(steps.append)
    sweep.apply(retention)
    sweep.stepped(None)
    assert (len(steps), len(loop.timers)) == (walks, timers)


@pytest.mark.parametrize("failed", [Step(error=LogUnavailable("The disk is full.")), Step(cancelled=True)])
@pytest.mark.parametrize(
    "retention", [Retention(max_age=20.0), Retention(rooms=(RoomRule("a*", max_messages=1),))]
)
def test_a_walk_whose_step_fails_begins_again_after_a_pause(
    loop: Loop, failed: Step, retention: Retention
) -> None:
    steps: list[str] = []
    sweep = Sweep(steps.append)
    sweep.apply(retention)
    for step in (Step("a"), failed):
        sweep.finished(cast(asyncio.Future[str | None], step))
    assert (steps, [timer.delay for timer in loop.timers]) == (["", "a"], [MOST_PAUSE])
    loop.timers[0].call()
    assert steps == ["", "a", ""]


def test_a_step_that_fails_after_the_end_begins_nothing(loop: Loop) -> None:
    sweep = Sweep(lambda room: None)
    sweep.apply(Retention(max_age=20.0))
    sweep.stop()
    sweep.finished(cast(asyncio.Future[str | None], Step(cancelled=True)))
    assert loop.timers == []


def test_a_walk_that_is_requested_during_the_pause_takes_the_place_of_the_next_one(loop: Loop) -> None:
    sweep = Sweep(lambda after: None)
    sweep.apply(Retention(max_age=20.0))
    sweep.stepped(None)
    sweep.begin()
    assert [timer.cancelled for timer in loop.timers] == [True]


def test_a_walk_that_failed_is_followed_by_one_walk_although_another_was_requested(loop: Loop) -> None:
    steps: list[str] = []
    sweep = Sweep(steps.append)
    for _ in range(2):
        sweep.begin()
    sweep.finished(cast(asyncio.Future[str | None], Step(cancelled=True)))
    loop.timers[0].call()
    sweep.stepped(None)
    assert steps == ["", ""]
