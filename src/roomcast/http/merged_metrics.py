"""Merges the metrics of several workers into those of one server.

Counters and histograms are added up, as are the gauges of connections, followers, answers and the process. For
other gauges the largest value is taken, for a few the smallest. Counts of workers that are dead or do not answer
are kept, and no counter is shown while some of them are unknown: Prometheus would read a falling sum as a restart
and compute wrong rates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from roomcast.delivery.engine import Engine
from roomcast.delivery.worker_group import Peers

COUNTERS, SUMS, LARGEST, SMALLEST, SEPARATE = "counters", "sums", "largest", "smallest", "separate"
"""The parts of a report: sums that outlive their worker, sums of living workers, values of which the largest is
taken, or the smallest, and values shown for each process."""
LAST = "last"
"""The last reports of workers by their numbers, without their gauges: a part of the log process's report alone."""
CPU_SECONDS = '["process_cpu_seconds","process_cpu_seconds_total",[]]'
"""The key of the processor time among `COUNTERS`."""
_SUMMED = (
    *("roomcast_connections", "roomcast_followers", "roomcast_followers_behind", "roomcast_answer_bytes"),
    *("roomcast_connections_limit", "roomcast_answer_bytes_limit"),
    *("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds"),
)
_SMALLEST = (
    *("roomcast_log_writable", "process_start_time_seconds"),
    *("roomcast_tail_position", "roomcast_consumer_position"),
)
_COUNTING = ("counter", "histogram", "summary")

Report = Mapping[str, Mapping[str, float]]


def is_of_an_earlier_process(report: Report, other: Report) -> bool:
    """Whether `report` is that of a predecessor of the process that the `other` one is of."""
    return report[SEPARATE]["restarts"] < other[SEPARATE]["restarts"]


def of_this_process() -> Sequence[Metric]:
    """The kernel's metrics of this process. Reads files."""
    return list(ProcessCollector(registry=None).collect())


def report(families: Iterable[Metric], separate: Mapping[str, float]) -> Report:
    """All numbers in the `families` of one process, for others to merge. `separate` are those that are shown for
    this process separately, by name."""
    parts: dict[str, dict[str, float]] = {
        COUNTERS: {},
        SUMS: {},
        LARGEST: {},
        SMALLEST: {},
        SEPARATE: dict(separate),
    }
    for family in families:
        part = parts[_part(family)]
        for sample in family.samples:
            part[_key(family, sample)] = sample.value
    return parts


def separate_numbers(engine: Engine, peers: Peers, process: Iterable[Metric]) -> Mapping[str, float]:
    """The numbers that are shown for each worker separately, by name: those of the worker of `engine`, its
    restarts from `peers`, and those in `process`, its families from `of_this_process`."""
    return {
        "restarts": peers.restarts,
        "followers": len(engine.streams.active),
        "tail_position": engine.hub.position,
        "longest_turn_seconds": engine.pace.longest_turn,
        **of_kernel(process),
    }


def of_kernel(process: Iterable[Metric]) -> Mapping[str, float]:
    """The processor time in seconds and the resident memory in bytes, by name, from the families of a
    `process`."""
    samples = {sample.name: sample.value for family in process for sample in family.samples}
    return {
        "cpu_seconds": samples.get("process_cpu_seconds_total", 0),
        "resident_memory_bytes": samples.get("process_resident_memory_bytes", 0),
    }


def summed(families: Iterable[Metric], reports: Mapping[int, Report], siblings: Collection[int]) -> list[Metric]:
    """Those of the `families` whose sums are known from `reports`: without counters and histograms while the log
    process is away, or has not heard of one of the `siblings` that does not answer."""
    lasts = _lasts(reports)
    known = 0 in reports and all(number in reports or number in lasts for number in siblings)
    return [family for family in families if known or family.type not in _COUNTING]


def merge(families: Iterable[Metric], own: int, reports: Mapping[int, Report]) -> list[Metric]:
    """The `families` of the answering process, with the merged numbers of all. The `reports` are by worker number;
    `own` is that of the answering process, and 0 that of the log process."""
    found: dict[str, Metric] = {}
    for family in families:
        found[family.name] = Metric(family.name, family.documentation, family.type)
    values: dict[str, float] = {}
    for number in sorted(reports, key=lambda number: number != own):
        _add(values, reports[number])
    for number, last in _lasts(reports).items():
        if number not in reports or is_of_an_earlier_process(last, reports[number]):
            _add(values, {COUNTERS: last[COUNTERS]})
    for key, value in values.items():
        name, sample, labels = msgspec.json.decode(key)
        if name in found:
            found[name].samples.append(Sample(sample, dict(labels), value))
    return [*found.values(), *_of_each(reports)]


def _lasts(reports: Mapping[int, Any]) -> Mapping[int, Report]:
    lasts: Mapping[int, Report] = reports.get(0, {}).get(LAST, {})
    return lasts


def _add(values: dict[str, float], report: Report) -> None:
    for part in (COUNTERS, SUMS):
        for key, value in report.get(part, {}).items():
            values[key] = values.get(key, 0) + value
    for part, better in ((LARGEST, max), (SMALLEST, min)):
        for key, value in report.get(part, {}).items():
            values[key] = better(values.get(key, value), value)


def _part(family: Metric) -> str:
    if family.type in _COUNTING:
        return COUNTERS
    if family.name in _SUMMED:
        return SUMS
    return SMALLEST if family.name in _SMALLEST else LARGEST


def _key(family: Metric, sample: Any) -> str:
    return msgspec.json.encode((family.name, sample.name, list(sample.labels.items()))).decode()


def _of_each(reports: Mapping[int, Report]) -> Iterable[Metric]:
    """The families with a value for each process."""
    gauges = {
        "followers": "Streams open at each worker.",
        "tail_position": "Number of the newest message that each worker delivered.",
        "longest_turn_seconds": "Longest turn of each worker's event loop lately.",
        "resident_memory_bytes": "Memory of each process; pages that they share are counted for each.",
    }
    for name, help in gauges.items():
        yield _labelled(GaugeMetricFamily(f"roomcast_worker_{name}", help, labels=["worker"]), name, reports)
    counters = {
        "cpu_seconds": "Processor time of each process.",
        "restarts": "How often each process was replaced since the server started, as it had ended or hung.",
    }
    for name, help in counters.items():
        yield _labelled(CounterMetricFamily(f"roomcast_worker_{name}", help, labels=["worker"]), name, reports)


def _labelled(family: Any, name: str, reports: Mapping[int, Report]) -> Metric:
    for number, report in sorted(reports.items()):
        if (value := report.get(SEPARATE, {}).get(name)) is not None:
            family.add_metric([str(number or "log")], value)
    found: Metric = family
    return found
