"""The counts of dead workers. They are added to those of living ones, so that the server's counters do not fall
when a worker dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec import Raw

from roomcast.http import merged_metrics
from roomcast.log.remote.exchange import WorkerExchange


class RetiredCounts:
    """Sums of dead workers' counters, kept in the log process."""

    def __init__(self, restarts: int) -> None:
        """`restarts` counts the log processes before this one."""
        self._restarts = restarts
        self._last: dict[int, Mapping[str, float]] = {}
        """The last report of each worker; no later numbers of that worker were ever shown."""
        self._gone: Counter[str] = Counter()

    def join(self, exchange: WorkerExchange, topic: str) -> None:
        """Listens to the workers' reports on `topic` of the `exchange`, and answers on it for dead workers and for
        this process."""
        exchange.on_value[topic] = self._hear
        exchange.on_leave.append(self._leave)
        exchange.own_answers[topic] = self._report

    def _hear(self, worker: int, report: Raw) -> None:
        told = msgspec.msgpack.decode(report)
        if told:
            self._last[worker] = told[merged_metrics.COUNTERS]

    def _leave(self, worker: int) -> None:
        for key, value in self._last.pop(worker, {}).items():
            self._gone[key] += value  # type: ignore[assignment]

    def _report(self) -> Raw:
        process = merged_metrics.of_this_process()
        own = merged_metrics.report(process, {"restarts": self._restarts, **merged_metrics.of_kernel(process)})
        counters = dict(self._gone)
        for key, value in own[merged_metrics.COUNTERS].items():
            counters[key] = counters.get(key, 0) + value  # type: ignore[assignment]
        return Raw(msgspec.msgpack.encode({**own, merged_metrics.COUNTERS: counters}))
