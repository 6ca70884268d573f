"""The line of a minute."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from roomcast.delivery.engine import Engine
from roomcast.delivery.pace import Pace
from roomcast.model.settings import Settings
from roomcast.serve import minute
from roomcast.serve.minute import MinuteReport
from tests.conftest import Serve


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    opened = await Engine.open(Settings(log="memory:", publish_rate=1.0))
    yield opened
    await opened.close()


async def said(reporter: MinuteReport, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "roomcast.server"):
        await reporter.report()
    return [record.getMessage() for record in caplog.records]


async def test_a_minute_without_anything_unusual_has_no_line(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert await said(MinuteReport(engine), caplog) == []


async def test_all_that_was_unusual_is_one_line_and_only_once(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = MinuteReport(engine)
    engine.refusals.update({"credential": 3, "invalid": 100, "right": 5})
    engine.streams.endings.update({"slow": 2, "client": 50})
    engine.streams.gaps["trimmed"] = 1
    [line] = await said(reporter, caplog)
    assert line.startswith(
        "in the last minute: 3 credentials were missing or refused: the lines of roomcast.audit"
    )
    assert "; 2 streams ended because their clients read nothing: " in line
    assert "; 1 gaps were reported" in line
    assert "100" not in line
    assert await said(reporter, caplog) == []


@pytest.mark.parametrize("name", minute.COUNTED)
async def test_each_part_says_what_to_do(
    name: str, engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([{name: 0}, {name: 7}])
    monkeypatch.setattr(minute, "_counts", lambda engine: next(counts))
    [line] = await said(MinuteReport(engine), caplog)
    what, colon, to_do = line.removeprefix("in the last minute: ").partition(": ")
    assert what.startswith("7 ")
    assert colon
    assert to_do


async def test_a_long_turn_and_a_short_retention_are_reported(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.pace = SimpleNamespace(take_longest_turn=lambda: 2.5, rate=100.0)  # type: ignore[assignment]
    [line] = await said(MinuteReport(engine), caplog)
    assert "the process stood still for 2.5 s: " in line
    assert "at this rate of publishing a message is retained for 100 s: raise --max-messages" in line


async def test_a_long_turn_is_reported_for_one_minute_only(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = MinuteReport(engine)
    engine.pace = Pace(lambda: 0)
    engine.pace._longest = engine.pace._longest_untaken = 2.5
    [line] = await said(reporter, caplog)
    assert line.startswith("in the last minute: the process stood still for 2.5 s: ")
    assert engine.pace.longest_turn == 2.5, "the metric still tells it"
    assert await said(reporter, caplog) == []


async def test_slow_publishes_are_reported_if_they_are_more_than_one_in_a_hundred(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = MinuteReport(engine)
    for seconds in (*[0.01] * 199, 0.6, 0.7):
        engine.append_times.observe(seconds)
    assert await said(reporter, caplog) == []
    engine.append_times.observe(0.6)
    [line] = await said(reporter, caplog)
    assert line.startswith(
        "in the last minute: 1 publishes took over 0.5 s until they were durable: check whether"
    )


async def test_a_disk_that_fills_is_reported(
    engine: Engine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minute, "file_of", lambda url: "x.db")
    monkeypatch.setattr(minute, "_free", lambda file: 12_000_000)
    assert await said(MinuteReport(engine), caplog) == [
        "in the last minute: the log's disk has 12 MB left: make room"
    ]


def test_the_start_is_one_line_with_all_that_matters(serve: Serve) -> None:
    server = serve("--log-format=json", "--publish-rate=20/s")
    server.wait_until_it_says("serves")
    line = json.loads(next(line for line in server.said().splitlines() if line.startswith("{")))
    assert line["message"].startswith("roomcast ")
    assert line["rights"] == "this machine alone reads and publishes, every room"
    assert line["log"] == "sqlite:test.db, 0 of 10000 messages, 0 of 5000000 bytes"
    assert line["publish_rate"] == "20/s"
    assert line["followers_limit"] > 0
    assert line["process"] == server.process.pid
