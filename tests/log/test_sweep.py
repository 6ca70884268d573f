"""When all rooms are walked (`log/sweep.py`), on a loop whose time stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from roomcast.log.sweep import MOST_PAUSE, Sweep


class Timer:
    """One that a test lets go off."""

    def __init__(self, delay: float, call: Callable[[], None]) -> None:
        self.delay = delay
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """As much of an event loop as is asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay, call))
        return self.timers[-1]


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


def test_a_walk_asked_for_during_one_follows_it_once(loop: Loop) -> None:
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
    sweep.begin()
    loop.now += 0.5
    sweep.stepped(None)
    assert loop.timers[0].delay == 10.0


def test_a_stopped_sweep_begins_no_walk(loop: Loop) -> None:
    sweep = Sweep(lambda after: None)
    sweep.least_age = 1.0
    sweep.begin()
    sweep.stepped(None)
    sweep.stop()
    assert loop.timers[0].cancelled
