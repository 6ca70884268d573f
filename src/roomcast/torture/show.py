"""The progress and the findings of an attack, as a table for a terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from roomcast.terminal import Screen
from roomcast.torture.attack import Attack

_ROWS = (
    ("acknowledged", "messages the server says are stored"),
    ("refused", "messages it refused, or that could not be sent"),
    ("unknown", "messages without an answer, not retried"),
    ("tried again", "requests retried after a bad or missing answer"),
    ("repeated", "requests sent again although they were acknowledged"),
    ("deleted", "messages deleted, if the server allows it"),
    ("deliveries", "messages that followers received"),
    ("cuts", "connections cut or lost"),
    ("resumes", "streams resumed"),
    ("sent away", "streams that the server ended"),
    ("gaps", "gaps reported"),
    ("lost at most", "messages that these gaps cover"),
    ("violations", "broken promises"),
)
_ROWS_OF_PRINCIPALS = (
    ("tickets", "tickets issued"),
    ("renewals", "streams that ended with their ticket, and resumed with another"),
    ("kept out", "break-ins refused"),
)
_EVERY_TERMINAL, _EVERY_ELSEWHERE = 0.5, 10.0
"""Seconds between two updates."""
_FIRST = 3
"""Violations that are shown while the attack runs."""


async def attack(under_way: Attack, table: Table) -> None:
    """Runs the attack `under_way` up to its verdict, and shows its progress in `table`. The first SIGINT stops the
    attack but not the verdict, the second ends everything at once. Raises `Unusable`."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(under_way.run())
    interrupts = iter((under_way.stop,))
    loop.add_signal_handler(signal.SIGINT, lambda: next(interrupts, running.cancel)())
    try:
        while not (await asyncio.wait({running}, timeout=table.every))[0]:
            if under_way.begun:
                table.show(under_way)
        running.result()
    except asyncio.CancelledError:
        under_way.cut_short = True
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        table.clear()


class Table:
    """A table that is redrawn in place in a terminal; elsewhere, a line every few seconds."""

    def __init__(self, file: TextIO = sys.stderr) -> None:
        self._file = file
        self._screen = Screen(file)
        self.every = _EVERY_TERMINAL if self._screen.is_terminal else _EVERY_ELSEWHERE
        self.began = time.monotonic()

    def show(self, attack: Attack) -> None:
        """Draws the present state of the `attack`."""
        seconds = time.monotonic() - self.began
        if self._screen.is_terminal:
            self._screen.show([*table(attack, seconds), *attack.record.violations[:_FIRST]])
        else:
            print(_line(attack, seconds), file=self._file, flush=True)

    def clear(self) -> None:
        """Erases the table."""
        self._screen.clear()


def table(attack: Attack, seconds: float) -> list[str]:
    """Returns the lines of the table of an `attack` that has run for `seconds`."""
    plan, counts = attack.plan, attack.record.counts
    lines = [
        f"{seconds:.0f} of {plan.seconds:.0f} s, {plan.followers} followers, {plan.publishers} publishers, "
        f"{plan.rooms} rooms, seed {plan.seed}"
    ]
    lines += [f"{counts[name]:>12,}  {name:<13} {what}" for name, what in _rows(attack)]
    p50, p99 = delays(attack)
    lines.append(f"{p50 * 1000:>9.1f} ms  p50, {p99 * 1000:.1f} ms p99, from a publish to a live follower")
    return lines


def verdict(attack: Attack) -> list[str]:
    """Returns the lines of the verdict on a finished `attack`."""
    record = attack.record
    if not record.counts["violations"]:
        end = ", as far as it went: it was ended before the last message had reached everybody"
        return [f"No promise was broken{end if attack.cut_short else ''}."]
    more = record.counts["violations"] - len(record.violations)
    times = "once" if record.counts["violations"] == 1 else f"{record.counts['violations']} times"
    return [
        f"A promise was broken {times}:",
        *(f"  {what}" for what in record.violations),
        *([f"  and {more} more"] if more else []),
    ]


def delays(attack: Attack) -> tuple[float, float]:
    """Returns the median and the 99th percentile of all delays of an `attack` in seconds; 0 if nothing was
    measured."""
    measured = sorted(delay for follower in attack.followers for delay in follower.delays)
    if not measured:
        return 0.0, 0.0
    return measured[len(measured) // 2], measured[min(len(measured) - 1, len(measured) * 99 // 100)]


def _line(attack: Attack, seconds: float) -> str:
    counts = attack.record.counts
    said = ", ".join(f"{counts[name]:,} {name}" for name, _ in _rows(attack) if counts[name])
    return f"{seconds:.0f} s: {said or 'nothing yet'}"


def _rows(attack: Attack) -> Sequence[tuple[str, str]]:
    return (*_ROWS, *(_ROWS_OF_PRINCIPALS if attack.plan.principals else ()))
