"""`GET /metrics`: the engine's own counts, read when asked for, so that nothing is counted twice or slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from roomcast.api.request import Answer, Fields, Request
from roomcast.delivery.engine import Engine
from roomcast.delivery.together import Peers
from roomcast.http import counts, gather
from roomcast.log import file_of
from roomcast.model.errors import LogUnavailable

TOPIC = "metrics"
"""What workers ask each other for."""
_FIELDS = Fields((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), (b"cache-control", b"no-store"))


async def metrics(engine: Engine, request: Request, asked: None) -> Answer:
    """In Prometheus's text format."""
    families = await collect(engine)
    # Off the loop: what is said of the process and of the disk is read from files.
    process = await asyncio.to_thread(gather.of_this_process)
    families += process
    if peers := engine.together.peers:
        families = await _of_all(engine, peers, families, process)
    return Answer(200, _FIELDS, await asyncio.to_thread(_exposed, families, file_of(engine.settings.log)))


async def collect(engine: Engine) -> list[Metric]:
    """All that this process counts, and what the log says of itself."""
    try:
        held = list(counts.of_log(await engine.log.bounds(), engine.log.retention, engine.pace.rate))
    except LogUnavailable:  # what the process itself counts is of most use just then
        held = []
    return [*counts.of_process(engine), *held]


def share(engine: Engine) -> None:
    """From now on other workers of this server are told what this one counts."""

    async def answer(asked: Any) -> gather.Report:
        process = await asyncio.to_thread(gather.of_this_process)
        return gather.report([*counts.of_process(engine), *process], gather.alone(engine, process))

    if peers := engine.together.peers:
        peers.when_asked(TOPIC, answer)


async def _of_all(
    engine: Engine, peers: Peers, families: Sequence[Metric], process: Sequence[Metric]
) -> list[Metric]:
    own = gather.report(families, gather.alone(engine, process))
    reports = {number: report for number, report in await peers.ask(TOPIC, own) if report}
    return gather.merged(families, peers.number, {peers.number: own, **reports})


def _exposed(families: Sequence[Metric], file: str) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([*families, *counts.of_disk(file)]))
    return generate_latest(registry)


class _Collected:
    """What was counted on the loop, as the collector that the library asks for."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
