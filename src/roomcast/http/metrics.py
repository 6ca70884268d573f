"""`GET /metrics`: the engine's own counts, read when asked for, so that nothing is counted twice or slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric

from roomcast.api.request import Answer, Fields, Request
from roomcast.delivery.engine import Engine
from roomcast.log.base import Bounds, HasOutbox
from roomcast.model.errors import LogUnavailable
from roomcast.model.retention import Retention
from roomcast.model.shapes import GAP_REASONS

ENDINGS = ("client", "slow", "drain", "overload", "error", "expired", "revoked", "replaced")
CLOSED = ("files", "address", "memory", "handshake", "head", "body", "answer", "idle")
"""Why the server closes a connection that its client was not done with."""
STATES = ("silent", "waiting", "answering")
_FIELDS = Fields((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), (b"cache-control", b"no-store"))


async def metrics(engine: Engine, request: Request, asked: None) -> Answer:
    """In Prometheus's text format."""
    try:
        held = list(_held(await engine.log.bounds(), engine.log.retention))
    except LogUnavailable:  # what the process itself counts is of most use just then
        held = []
    counts = [*_counts(engine), *held]
    # Off the loop: what is said of the process is read from files.
    text = await asyncio.to_thread(_exposed, _Counts(counts))
    return Answer(200, _FIELDS, text)


def _exposed(counts: _Counts) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(counts)
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Counts:
    """What was counted on the loop, as the collector that the library asks for."""

    def __init__(self, counts: Sequence[Metric]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        return self._counts


def _held(bounds: Bounds, retention: Retention) -> Iterable[Metric]:
    yield _gauge("log_messages", "Messages retained.", bounds.messages)
    yield _gauge("log_bytes", "Bytes retained.", bounds.bytes)
    yield _gauge("log_messages_limit", "Messages retained at most.", retention.max_messages)
    yield _gauge("log_bytes_limit", "Bytes retained at most.", retention.max_bytes)
    yield _gauge("log_newest", "The newest message's number.", bounds.newest)
    yield _gauge("log_oldest_timestamp_seconds", "When the oldest message was stored.", bounds.oldest_at / 1000)
    age = GaugeMetricFamily("roomcast_log_max_age_seconds", "Age of a message at most.")
    if retention.max_age is not None:
        age.add_metric([], retention.max_age)
    yield age
    yield from _rules(retention)


def _rules(retention: Retention) -> Iterable[Metric]:
    """The rules in force for rooms."""
    for name, cap, help in (
        ("room_messages_limit", "max_messages", "Messages retained of each room at most."),
        ("room_bytes_limit", "max_bytes", "Bytes retained of each room at most."),
        ("room_max_age_seconds", "max_age", "Age of a room's message at most."),
    ):
        family = GaugeMetricFamily(f"roomcast_{name}", help, labels=["match"])
        # Of two rows with one name the first counts.
        caps = {rule.match: getattr(rule, cap) for rule in reversed(retention.rooms)}
        for match, value in caps.items():
            if value is not None:
                family.add_metric([match], value)
        yield family


def _counts(engine: Engine) -> Iterable[Metric]:
    streams = engine.streams
    yield _counter("messages_published", "Messages stored by this process.", engine.published)
    seconds = SummaryMetricFamily("roomcast_append_seconds", "Time from append to durable, per request.")
    seconds.add_metric([], engine.appends, engine.publish_seconds)
    yield seconds
    yield _counter("deliveries", "Messages written to caught-up followers.", engine.hub.deliveries)
    yield _gauge("followers", "Streams open.", len(streams.active))
    yield _gauge("followers_behind", "Streams replaying, or too slow for the live.", len(streams.behind))
    yield _gauge("followers_limit", "Streams this process takes.", engine.followers_limit)
    yield _counter("streams_opened", "Streams begun.", streams.opened)
    yield _labelled("streams_ended", "Streams ended.", "reason", dict.fromkeys(ENDINGS, 0) | streams.endings)
    yield _labelled("gaps", "Gaps told.", "reason", dict.fromkeys(GAP_REASONS, 0) | streams.gaps)
    yield _counter("log_reads", "Pages read from the log for streams.", streams.reader.reads)
    yield _gauge("log_writable", "Whether the last write to the log succeeded.", not engine.log.unwritable)
    if isinstance(engine.log, HasOutbox):
        yield _counter("outbox_moved", "Messages published in SQL that were stored.", engine.log.outbox_moved)
        yield _counter("outbox_refused", "Messages published in SQL that were not.", engine.log.outbox_refused)
    yield _gauge("tail_position", "The newest message's number that was delivered.", engine.hub.position)
    consumers = GaugeMetricFamily("roomcast_consumer_position", "Delivered to it up to here.", labels=["consumer"])
    for name, position in engine.log.positions().items():
        consumers.add_metric([name], position)
    yield consumers
    yield _labelled(
        "connections_closed", "Connections closed.", "reason", dict.fromkeys(CLOSED, 0) | engine.closed
    )
    connections = GaugeMetricFamily("roomcast_connections", "Connections that are no streams.", labels=["state"])
    for state, number in (dict.fromkeys(STATES, 0) | engine.connected()).items():
        connections.add_metric([state], number)
    yield connections
    yield _gauge("answer_bytes", "Memory of answers that are made, or wait to be taken.", engine.answers.held)
    yield _gauge("answer_bytes_limit", "Memory that answers may take at most.", engine.answers.limit)
    limits = engine.publish_limits
    refused = {"memory": engine.answers.refused, "rate": limits.refused if limits else 0}
    yield _labelled("refusals", "Requests refused to keep within a bound.", "reason", refused)
    requests = CounterMetricFamily("roomcast_requests", "Requests answered.", labels=["method", "status"])
    for (method, status), count in sorted(engine.requests.items()):
        requests.add_metric([method, str(status)], count)
    yield requests


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"roomcast_{name}", help, value=value)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"roomcast_{name}", help, value=value)


def _labelled(name: str, help: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"roomcast_{name}", help, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
