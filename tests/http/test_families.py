"""The metric families that are made of the engine's counts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client.metrics_core import Metric

from roomcast.http import families
from roomcast.log.base import Bounds
from roomcast.model.retention import Retention

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
