"""The metric families that are made of the engine's counts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client.metrics_core import Metric

from roomcast.delivery.engine import Engine
from roomcast.http import families
from roomcast.log.base import Bounds
from roomcast.model.retention import Retention, RoomRule

INFINITE = float("inf")


def value(families: Iterable[Metric], name: str) -> float:
    [found] = [
        sample.value for family in families for sample in family.samples if sample.name == f"roomcast_{name}"
    ]
    return float(found)


@pytest.mark.parametrize(
    ("retention", "rate", "seconds"),
    [
        (Retention(1_000, 1_000_000), 0.0, INFINITE),
        (Retention(1_000, 1_000_000), 10.0, 100.0),
        (Retention(1_000, 10_000), 10.0, 10.0),
        (Retention(1_000, 1_000_000, 60.0), 10.0, 60.0),
        (Retention(1_000, 1_000_000, 60.0), 0.0, 60.0),
    ],
)
def test_retention_lasts_until_the_first_cap_is_reached(retention: Retention, rate: float, seconds: float) -> None:
    bounds = Bounds(trimmed=0, newest=50, bytes=5_000, messages=50, oldest_at=1)
    assert value(families.of_log(bounds, retention, rate), "log_retention_seconds") == seconds


def test_a_log_without_a_file_has_no_disk() -> None:
    assert [sample for family in families.of_disk("") for sample in family.samples] == []


def test_a_log_whose_file_is_gone_still_has_its_disk() -> None:
    assert value(families.of_disk("no such file"), "log_disk_free_bytes") > 0


def test_a_rule_without_a_cap_has_no_value_for_it() -> None:
    rules = (RoomRule("a", max_messages=5), RoomRule("b*", max_bytes=7))
    found = list(families.of_log(Bounds(0, 0, 0, 0, 0), Retention(rooms=rules), 0.0))
    samples = {(s.name, s.labels["match"]): s.value for family in found for s in family.samples if s.labels}
    assert samples == {("roomcast_room_messages_limit", "a"): 5, ("roomcast_room_bytes_limit", "b*"): 7}


async def test_the_outbox_of_a_log_is_counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.log, "outbox_moved", 3, raising=False)
    monkeypatch.setattr(engine.log, "outbox_refused", 1, raising=False)
    found = list(families.of_process(engine))
    assert value(found, "outbox_moved_total") == 3
    assert value(found, "outbox_refused_total") == 1
