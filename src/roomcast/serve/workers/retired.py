"""The counts of workers that are dead or do not answer. They are added to those of the others, so that the
server's counters do not fall while it runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from roomcast.http import merged_metrics
from roomcast.http.merged_metrics import COUNTERS, CPU_SECONDS, LAST, SEPARATE, Report
from roomcast.log.remote.exchange import WorkerExchange
from roomcast.serve.workers.orders import Past

Kept = tuple[Mapping[str, float], Mapping[int, Report]]
"""The state that the next log process takes over: `_gone` and `_left`."""


class RetiredCounts:
    """The last counters of each worker, and sums of dead workers' counters, kept in the log process."""

    def __init__(self, past: Past, keep: Callable[[Kept], object]) -> None:
        """`past` is that of the log processes before this one; `keep` gives the next one what it needs."""
        gone, left = past.kept or ({}, {})
        self._past = past
        self._keep = keep
        self._last: dict[int, Report] = {}
        """The last report of each connected worker; no later numbers of that worker were ever shown."""
        self._left: dict[int, Report] = dict(left)
        """The last report of each worker that has left. It may live and return, such as when it was cut."""
        self._gone: defaultdict[str, float] = defaultdict(float, gone)
        """The counters of all workers whose successors have reported."""

    def join(self, exchange: WorkerExchange, topic: str) -> None:
        """Listens to the workers' reports on `topic` of the `exchange`, and answers on it for the workers that do
        not, and for this process."""
        exchange.on_value[topic] = self._hear
        exchange.on_leave.append(self._leave)
        exchange.own_answers[topic] = self._report

    def _hear(self, worker: int, report: Raw) -> None:
        told = msgspec.msgpack.decode(report)
        if not told:
            return
        left = self._left.pop(worker, None)
        if left and merged_metrics.is_of_an_earlier_process(left, told):
            _add(self._gone, left)
        self._last[worker] = {COUNTERS: told[COUNTERS], SEPARATE: told[SEPARATE]}

    def _leave(self, worker: int) -> None:
        if worker in self._last:
            self._left[worker] = self._last.pop(worker)
            self._keep((self._gone, self._left))

    def _report(self) -> Raw:
        process = merged_metrics.of_this_process()
        separate = {"restarts": self._past.restarts, **merged_metrics.of_kernel(process)}
        own = merged_metrics.report(process, separate)
        counters = self._gone.copy()
        counters[CPU_SECONDS] += self._past.cpu_seconds
        _add(counters, own)
        last = {**self._last, **self._left}
        return Raw(msgspec.msgpack.encode({**own, COUNTERS: counters, LAST: last}))


def _add(counters: defaultdict[str, float], report: Report) -> None:
    for key, value in report[COUNTERS].items():
        counters[key] += value
