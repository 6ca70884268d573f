"""The measured length of the loop's turns, and the growth of the log."""

from __future__ import annotations

import asyncio
import time

import pytest

from roomcast.delivery import pace as paces
from roomcast.delivery.pace import Pace
from tests.delivery.fakes import until


async def test_a_turn_that_holds_up_the_others_is_told() -> None:
    pace = Pace(lambda: 0)
    running = asyncio.create_task(pace.run())
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 (this is the turn)
    while not pace.longest_turn:  # noqa: ASYNC110 (it is for whoever looks)
        await asyncio.sleep(0)
    assert 0.15 < pace.longest_turn < 10
    running.cancel()
    assert (pace.take_longest_turn(), pace.take_longest_turn()) == (pace.longest_turn, 0)


def test_the_rate_is_that_of_the_last_minutes() -> None:
    positions = iter([100, 1_000, 1_300, 10_100])
    pace = Pace(lambda: next(positions))
    pace.sample(10.0)
    assert pace.rate == 0
    pace.sample(20.0)
    assert pace.rate == 0, "that was a burst"
    pace.sample(70.0)
    assert pace.rate == 20
    pace.sample(110.0)
    assert pace.rate == 100


def test_a_new_epoch_gives_no_negative_rate() -> None:
    positions = iter([1_000, 0, 30])
    pace = Pace(lambda: next(positions))
    pace.sample(0.0)
    pace.sample(60.0)
    assert pace.rate == 0
    pace.sample(120.0)
    assert pace.rate == 0.5


async def test_it_takes_samples_and_forgets_the_longest_turn_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_LOOK_SECONDS", "_SAMPLE_SECONDS", "_REMEMBERED_SECONDS"):
        monkeypatch.setattr(paces, name, 0)
    looked = 0

    def position() -> int:
        nonlocal looked
        looked += 1
        return looked

    pace = Pace(position)
    pace._longest = pace._longest_before = 1_000.0
    running = asyncio.create_task(pace.run())
    await until(lambda: looked > 4 and pace.longest_turn < 1_000)
    running.cancel()
