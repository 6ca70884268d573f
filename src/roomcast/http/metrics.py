"""`GET /metrics`: the engine's own counts, read at each request, so that nothing is counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from roomcast.api.answer import Answer, HeaderFields
from roomcast.api.request import Request
from roomcast.delivery.engine import Engine
from roomcast.delivery.worker_group import Peers
from roomcast.http import merged_metrics
from roomcast.http.families import of_disk, of_log, of_process
from roomcast.log import file_of
from roomcast.model.errors import LogUnavailable

TOPIC = "metrics"
"""The topic under which workers ask each other for their metrics."""
_FIELDS = HeaderFields(
    (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), (b"cache-control", b"no-store")
)


async def metrics(engine: Engine, request: Request, parsed: None) -> Answer:
    """`GET /metrics`: the metrics of `engine`, merged with those of the other workers, in Prometheus's text
    format. `request` and `parsed` are not used."""
    families = await collect(engine)
    # Off the loop: the metrics of the process and the disk are read from files.
    process = await asyncio.to_thread(merged_metrics.of_this_process)
    families += process
    if peers := engine.worker_group.peers:
        families = await _of_all(engine, peers, families, process)
    return Answer(200, _FIELDS, await asyncio.to_thread(_as_text, families, file_of(engine.settings.log)))


async def collect(engine: Engine) -> list[Metric]:
    """The metrics of the process of `engine` and of its log; those of the log are missing while it does not
    answer."""
    try:
        of_the_log = list(of_log(await engine.log.bounds(), engine.log.retention, engine.pace.rate))
    except LogUnavailable:  # the process's own metrics matter most then
        of_the_log = []
    return [*of_process(engine), *of_the_log]


def share(engine: Engine) -> None:
    """Answers the other workers' requests for the metrics of `engine` from now on. Only for a worker of
    several."""
    peers = engine.worker_group.peers
    assert peers

    async def answer(question: Any) -> merged_metrics.Report:
        process = await asyncio.to_thread(merged_metrics.of_this_process)
        return merged_metrics.report(
            [*of_process(engine), *process], merged_metrics.separate_numbers(engine, peers, process)
        )

    peers.when_asked(TOPIC, answer)


async def _of_all(
    engine: Engine, peers: Peers, families: Sequence[Metric], process: Sequence[Metric]
) -> list[Metric]:
    own = merged_metrics.report(families, merged_metrics.separate_numbers(engine, peers, process))
    reports = {number: report for number, report in await peers.ask(TOPIC, own) if report}
    reports[peers.number] = own
    return merged_metrics.merge(merged_metrics.summed(families, reports, peers.siblings), peers.number, reports)


def _as_text(families: Sequence[Metric], file: str) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*families, *of_disk(file)]))
    return generate_latest(registry)


class _Collected:
    """A collector of metrics that are collected already: the library's registry takes only collectors."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
