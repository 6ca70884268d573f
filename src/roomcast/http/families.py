"""roomcast's metric families in `/metrics`: those of the process, of the log, and of the log's disk.

`merged_metrics` has the kernel's and those of each worker, and merges the metrics of several processes.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from roomcast.auth.principal import Kind
from roomcast.delivery.engine import Engine
from roomcast.delivery.histogram import Histogram
from roomcast.http import refusals
from roomcast.log.base import Bounds, HasOutbox
from roomcast.model.retention import Retention
from roomcast.model.shapes import GAP_REASONS
from roomcast.version import __version__

ENDINGS = ("client", "slow", "drain", "overload", "error", "expired", "revoked", "replaced", "limit")
CLOSED = ("files", "address", "memory", "handshake", "head", "body", "answer", "idle", "log")
"""The reasons for which the server closes a connection before its client is done."""
KINDS = get_args(Kind)
"""Kinds of principals. No metric names a principal: there may be any number, and each is a person or a program."""
STATES = ("silent", "waiting", "answering", "following")


def of_process(engine: Engine) -> Iterable[Metric]:
    """The metrics that the process of `engine` counts."""
    yield _build()
    yield _gauge("clock_seconds", "This machine's clock, in seconds since 1970.", time.time())
    yield _gauge("loop_longest_turn_seconds", "Longest turn of the event loop lately.", engine.pace.longest_turn)
    yield from _of_publishing(engine)
    yield from _of_streams(engine)
    yield from _of_connections(engine)
    yield from _of_answers(engine)
    yield _limited(engine)
    yield _issuers_away(engine)


def of_log(bounds: Bounds, retention: Retention, rate: float) -> Iterable[Metric]:
    """The log's contents, as `bounds` has them, and the caps in force, those of `retention`. `rate` is the
    messages stored per second."""
    yield _gauge("log_messages", "Messages retained.", bounds.messages)
    yield _gauge("log_bytes", "Bytes retained.", bounds.bytes)
    yield _gauge("log_messages_limit", "Maximum number of messages retained.", retention.max_messages)
    yield _gauge("log_bytes_limit", "Maximum number of bytes retained.", retention.max_bytes)
    yield _gauge("log_newest", "Number of the newest message.", bounds.newest)
    yield _gauge("log_oldest_timestamp_seconds", "When the oldest message was stored.", bounds.oldest_at / 1000)
    yield _gauge(
        "log_retention_seconds",
        "How long a message is retained at this rate.",
        retention_seconds(bounds, retention, rate),
    )
    age = GaugeMetricFamily("roomcast_log_max_age_seconds", "Maximum age of a message.")
    if retention.max_age is not None:
        age.add_metric([], retention.max_age)
    yield age
    yield from _rules(retention)


def of_disk(file: str) -> Iterable[Metric]:
    """The size of the log's files and the free space of their disk. `file` is the path of the log's file, empty if
    the log is not in a file; then the families have no values. Blocks."""
    size = GaugeMetricFamily("roomcast_log_disk_bytes", "Size of the log's file.", labels=["file"])
    free = GaugeMetricFamily("roomcast_log_disk_free_bytes", "Free space of the disk of the log's file.")
    if file:
        with suppress(OSError):
            for name, suffix in (("database", ""), ("wal", "-wal")):
                size.add_metric([name], os.stat(file + suffix).st_size)
        with suppress(OSError):
            disk = os.statvfs(os.path.dirname(os.path.realpath(file)))
            free.add_metric([], disk.f_bavail * disk.f_frsize)
    yield size
    yield free


def _build() -> Metric:
    labels = {"version": __version__, "python": platform.python_version()}
    family = GaugeMetricFamily("roomcast_build_info", "The running version.", labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def retention_seconds(bounds: Bounds, retention: Retention, rate: float) -> float:
    """Seconds until the caps of `retention` trim a message that is stored now, if messages keep coming at `rate`
    per second, and in the average size of those in `bounds`. Infinite if no cap applies."""
    size = bounds.bytes / bounds.messages if bounds.messages else 0.0
    caps = [(retention.max_messages, rate), (retention.max_bytes, rate * size)]
    times = [cap / grows for cap, grows in caps if grows]
    return min([*times, float("inf") if retention.max_age is None else retention.max_age])


def _rules(retention: Retention) -> Iterable[Metric]:
    """The rooms' rules in force."""
    for name, cap, help in (
        ("room_messages_limit", "max_messages", "Maximum number of messages retained of each room."),
        ("room_bytes_limit", "max_bytes", "Maximum number of bytes retained of each room."),
        ("room_max_age_seconds", "max_age", "Maximum age of a room's message."),
    ):
        family = GaugeMetricFamily(f"roomcast_{name}", help, labels=["match"])
        # Of two rules with the same `match` the first one applies.
        caps = {rule.match: getattr(rule, cap) for rule in reversed(retention.rooms)}
        for match, value in caps.items():
            if value is not None:
                family.add_metric([match], value)
        yield family


def _of_publishing(engine: Engine) -> Iterable[Metric]:
    yield _counter("messages_published", "Messages stored by this server.", engine.published)
    yield _histogram("append_seconds", "Time from append to durable, of each request.", engine.append_times)
    yield _gauge("log_writable", "Whether the last write to the log succeeded.", not engine.log.unwritable)
    if isinstance(engine.log, HasOutbox):
        yield _counter("outbox_moved", "Messages published in SQL that were stored.", engine.log.outbox_moved)
        yield _counter("outbox_refused", "Messages published in SQL that were refused.", engine.log.outbox_refused)
    yield _gauge("tail_position", "Number of the newest delivered message.", engine.hub.position)
    consumers = GaugeMetricFamily(
        "roomcast_consumer_position",
        "Number of the newest message that the consumer received.",
        labels=["consumer"],
    )
    for name, position in engine.log.positions().items():
        consumers.add_metric([name], position)
    yield consumers


def _of_streams(engine: Engine) -> Iterable[Metric]:
    streams = engine.streams
    yield _counter("deliveries", "Messages written to caught-up followers.", engine.hub.deliveries)
    yield _histogram(
        "delivery_seconds",
        "Time from storing a turn's messages to writing them to the last caught-up follower.",
        engine.tail.delivery_times,
    )
    yield _gauge("followers", "Streams open.", len(streams.active))
    yield _gauge(
        "followers_behind", "Streams that replay, or are too slow for live messages.", len(streams.behind)
    )
    yield _gauge(
        "followers_behind_messages",
        "Messages of the log that the slowest stream has yet to pass.",
        streams.farthest_behind,
    )
    yield _gauge("followers_limit", "Maximum number of streams.", _followers_limit(engine))
    yield _counter("streams_opened", "Streams opened.", streams.opened)
    yield _labelled("streams_ended", "Streams ended.", "reason", dict.fromkeys(ENDINGS, 0) | streams.endings)
    yield _labelled("gaps", "Gaps told to followers.", "reason", dict.fromkeys(GAP_REASONS, 0) | streams.gaps)
    yield _counter("log_reads", "Pages read from the log for streams.", streams.replay.reads)


def _followers_limit(engine: Engine) -> int:
    """The limit of all workers together: they share `--max-followers`."""
    most = engine.followers_limit * engine.worker_group.workers
    return min(engine.settings.max_followers or most, most)


def _of_connections(engine: Engine) -> Iterable[Metric]:
    yield _labelled(
        "connections_closed", "Connections closed.", "reason", dict.fromkeys(CLOSED, 0) | engine.closed
    )
    connections = GaugeMetricFamily("roomcast_connections", "Connections open.", labels=["state"])
    for state, number in (dict.fromkeys(STATES, 0) | engine.connected()).items():
        connections.add_metric([state], number)
    yield connections
    yield _gauge("connections_limit", "Maximum number of connections.", engine.settings.connections_limit)


def _of_answers(engine: Engine) -> Iterable[Metric]:
    yield _gauge("answer_bytes", "Memory of answers being built or waiting to be read.", engine.answers.used)
    yield _gauge("answer_bytes_limit", "Maximum memory of answers.", engine.answers.limit)
    limiter = engine.address_limiter
    refused = {"memory": engine.answers.refused, "rate": limiter.refused if limiter else 0}
    known = refused | dict.fromkeys(refusals.REASONS, 0)
    yield _labelled("refusals", "Requests refused.", "reason", known | engine.refusals)
    requests = CounterMetricFamily("roomcast_requests", "Requests answered.", labels=["method", "status"])
    for (method, status), count in sorted(engine.requests.items()):
        requests.add_metric([method, str(status)], count)
    yield requests


def _limited(engine: Engine) -> Metric:
    family = CounterMetricFamily(
        "roomcast_limited", "Streams and publishes beyond a principal's limit.", labels=["principal", "limit"]
    )
    for limit, counted in (("streams", engine.streams.limited), ("publish", engine.principal_limiters.refused)):
        for kind in KINDS:
            family.add_metric([kind, limit], counted[kind])
    return family


def _issuers_away(engine: Engine) -> Metric:
    help = "Whether the last fetch of an issuer's keys failed."
    family = GaugeMetricFamily("roomcast_issuer_away", help, labels=["issuer"])
    issuers = engine.enforcement.guard.rights.issuers if engine.enforcement else None
    for name, away in (issuers.failed_fetches() if issuers else {}).items():
        family.add_metric([name], away)
    return family


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"roomcast_{name}", help, value=value)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"roomcast_{name}", help, value=value)


def _histogram(name: str, help: str, times: Histogram) -> Metric:
    return HistogramMetricFamily(f"roomcast_{name}", help, buckets=times.buckets(), sum_value=times.sum)


def _labelled(name: str, help: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"roomcast_{name}", help, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
