"""A run's figures as a table: in a terminal redrawn in place while they grow."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from roomcast.cli.load.run import Run

_BUSY = 0.8
"""Of a core: from here on the delays may be this process's own."""


def table(run: Run, busy: float) -> list[str]:
    """The lines. `busy`: this process's share of a core."""
    plan, figures = run.plan, run.figures
    seconds = min(figures.seconds(), time.perf_counter() - figures.began) if figures.deliveries else 0.0
    p50, p99, p999 = (_ms(figures.delays.quantile(share)) for share in (0.5, 0.99, 0.999))
    audience = f"{_some(plan.followers, 'follower')} of {_some(plan.rooms, 'room')}"
    wrong = f"{figures.cuts:,} cuts, {figures.gaps:,} gaps, {figures.disorder:,} doubled or out of order"
    return [
        f"{audience}, {plan.rate:,g} messages a second of {plan.size:,} characters",
        _row("connected", f"{figures.connected:,}", f"followers, {seconds:.1f} of {plan.seconds:g} s"),
        _row(
            "published",
            f"{figures.published:,}",
            f"{_rate(figures.published, seconds)}, {figures.refused:,} refused",
        ),
        _row("delivered", f"{figures.deliveries:,}", _rate(figures.deliveries, seconds)),
        _row("delay", p50, f"p50, {p99} p99, {p999} p99.9, from a post to its delivery"),
        _row("wrong", f"{figures.gaps + figures.disorder:,}", wrong),
        _row(
            "busy",
            f"{busy:.0%}",
            "of a core in this process" + (": the delays may be its own" if busy > _BUSY else ""),
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


class Busy:
    """How much of a core this process takes, since it was looked at last."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def share(self) -> float:
        return (time.process_time() - self._cpu) / max(time.perf_counter() - self._wall, 1e-9)


class Screen:
    """Lines on stderr that are written over by the next ones; only in a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._drawn = 0

    def show(self, lines: Sequence[str]) -> None:
        """These, in the place of the last ones."""
        if self._terminal:
            # A line that the terminal breaks would be two to go back over; some do not know their width.
            width = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
            back = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
            print(back + "".join(f"{line[:width]}\n" for line in lines), end="", file=sys.stderr, flush=True)
            self._drawn = len(lines)
