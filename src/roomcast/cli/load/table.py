"""The figures of a run as a table."""

from __future__ import annotations

import time

from roomcast.cli.load.run import LoadRun

_BUSY = 0.8
"""A share of a core. Above it this process itself may cause the delays."""


def table(run: LoadRun, busy: float) -> list[str]:
    """Returns the lines of the table of a `run`; `busy` is this process's share of a core, from 0 to 1."""
    plan, figures = run.plan, run.figures
    seconds = min(figures.seconds(), time.perf_counter() - figures.began) if figures.deliveries else 0.0
    p50, p99, p999 = (_ms(figures.delays.quantile(share)) for share in (0.5, 0.99, 0.999))
    audience = f"{_some(plan.followers, 'follower')} of {_some(plan.rooms, 'room')}"
    wrong = f"{figures.cuts:,} cuts, {figures.gaps:,} gaps, {figures.disorder:,} duplicated or out of order"
    refused = f"{figures.refused:,} refused" + (f": {figures.refusal}" if figures.refusal else "")
    return [
        f"{audience}, {plan.rate:,g} messages a second of {plan.size:,} characters",
        _row("connected", f"{figures.connected:,}", f"followers, {seconds:.1f} of {plan.seconds:g} s"),
        _row("published", f"{figures.published:,}", f"{_rate(figures.published, seconds)}, {refused}"),
        _row("delivered", f"{figures.deliveries:,}", _rate(figures.deliveries, seconds)),
        _row("delay", p50, f"p50, {p99} p99, {p999} p99.9, from a post to its delivery"),
        _row("wrong", f"{figures.gaps + figures.disorder:,}", wrong),
        _row(
            "busy",
            f"{busy:.0%}",
            "of a core in this process" + (": it may cause the delays itself" if busy > _BUSY else ""),
        ),
    ]


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _row(name: str, figure: str, more: str) -> str:
    return f"  {name:<10} {figure:>12}  {more}"


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds if seconds else 0:,.0f} a second"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.{1 if seconds < 0.1 else 0}f} ms"


class CpuShare:
    """This process's share of a core since it began."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def value(self) -> float:
        """Returns that share: 1 is a whole core."""
        return (time.process_time() - self._cpu) / max(time.perf_counter() - self._wall, 1e-9)
