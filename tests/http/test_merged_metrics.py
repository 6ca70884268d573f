"""The metrics of several processes, as one server shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from roomcast.http import merged_metrics
from roomcast.http.merged_metrics import Report, merge, report


def counter(name: str, **values: float) -> Metric:
    family = CounterMetricFamily(f"roomcast_{name}", "Help.", labels=["reason"])
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def gauge(name: str, value: float) -> Metric:
    return GaugeMetricFamily(name, "Help.", value=value)


def values(families: Iterable[Metric], name: str) -> dict[str, float]:
    """The values of a sample, by its label; under an empty name if it has none."""
    return {
        next(iter(sample.labels.values()), ""): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def of_two(own: list[Metric], other: list[Metric]) -> list[Metric]:
    """The metrics that the second worker shows."""
    return merge(own, 2, {1: report(other, {}), 2: report(own, {})})


def test_counters_are_added_up_by_their_labels() -> None:
    merged = of_two([counter("gaps", epoch=1, trimmed=2)], [counter("gaps", trimmed=3, future=4)])
    assert values(merged, "roomcast_gaps_total") == {"epoch": 1, "trimmed": 5, "future": 4}


def test_histograms_are_added_up_by_their_buckets() -> None:
    def times(short: int, sum: float) -> Metric:
        buckets = [("0.1", short), ("+Inf", short + 1)]
        return HistogramMetricFamily("roomcast_append_seconds", "Help.", buckets=buckets, sum_value=sum)

    merged = of_two([times(2, 0.5)], [times(4, 1.5)])
    assert values(merged, "roomcast_append_seconds_bucket") == {"0.1": 6, "+Inf": 8}
    assert values(merged, "roomcast_append_seconds_sum") == {"": 2.0}


@pytest.mark.parametrize(
    ("name", "merged"),
    [
        ("roomcast_followers", 7),  # added up
        ("process_open_fds", 7),
        ("roomcast_log_newest", 4),  # the largest
        ("roomcast_log_writable", 3),  # the smallest
        ("roomcast_tail_position", 3),
        ("roomcast_consumer_position", 3),  # as that of consumers of one process that share a name
    ],
)
def test_a_gauge_is_added_up_or_its_largest_or_smallest_value_is_shown(name: str, merged: float) -> None:
    for one, other in ((3, 4), (4, 3)):
        assert values(of_two([gauge(name, one)], [gauge(name, other)]), name) == {"": merged}


def test_a_family_that_the_answering_process_does_not_have_is_left_out() -> None:
    assert values(of_two([], [counter("gaps", epoch=1)]), "roomcast_gaps_total") == {}


def test_a_report_without_a_part_counts_as_one_with_an_empty_part() -> None:
    own = [counter("gaps", epoch=1)]
    reports: Mapping[int, Report] = {0: {}, 1: report(own, {})}
    assert values(merge(own, 1, reports), "roomcast_gaps_total") == {"epoch": 1}


def test_the_numbers_of_each_worker_are_shown_with_its_number_and_the_log_process_by_name() -> None:
    reports = {
        2: report([], {"followers": 5, "restarts": 1}),
        1: report([], {"followers": 3, "restarts": 0}),
        0: report([], {"restarts": 2}),
    }
    merged = merge([], 1, reports)
    assert values(merged, "roomcast_worker_followers") == {"1": 3, "2": 5}
    assert values(merged, "roomcast_worker_restarts_total") == {"log": 2, "1": 0, "2": 1}


def test_the_kernels_numbers_of_a_process_are_0_where_it_tells_none() -> None:
    process = [gauge("process_resident_memory_bytes", 4096)]
    assert merged_metrics.of_kernel(process) == {"cpu_seconds": 0, "resident_memory_bytes": 4096}
