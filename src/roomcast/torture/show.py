"""What an attack has tried and found so far, as a table for a terminal."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from roomcast.torture.attack import Attack

_ROWS = (
    ("acknowledged", "messages the server says are stored"),
    ("refused", "messages it refused"),
    ("unknown", "messages without an answer, not tried again"),
    ("tried again", "requests repeated with their key"),
    ("deliveries", "messages heard by followers"),
    ("cuts", "connections cut or lost"),
    ("resumes", "streams resumed"),
    ("sent away", "streams that the server ended"),
    ("gaps", "gaps told"),
    ("lost at most", "messages named in them"),
    ("violations", "promises broken"),
)


class Table:
    """Redrawn in place in a terminal; elsewhere a line now and then."""

    def __init__(self, file: TextIO = sys.stderr) -> None:
        self._file = file
        self._began = time.monotonic()
        self._drawn = 0

    def show(self, attack: Attack) -> None:
        """As it stands."""
        if self._file.isatty():
            print(f"\x1b[{self._drawn}F\x1b[J" if self._drawn else "", end="", file=self._file)
            lines = table(attack, time.monotonic() - self._began)
            self._drawn = len(lines)
            print("\n".join(lines), file=self._file, flush=True)
        else:
            counts = attack.record.counts
            said = ", ".join(f"{counts[name]:,} {name}" for name, _ in _ROWS if counts[name])
            print(f"{time.monotonic() - self._began:.0f} s: {said or 'nothing yet'}", file=self._file, flush=True)


def table(attack: Attack, seconds: float) -> list[str]:
    """The lines."""
    plan, counts = attack.plan, attack.record.counts
    lines = [
        f"{seconds:.0f} of {plan.seconds:.0f} s, {plan.followers} followers, {plan.publishers} publishers, "
        f"{plan.rooms} rooms, seed {plan.seed}"
    ]
    lines += [f"{counts[name]:>12,}  {name:<13} {what}" for name, what in _ROWS]
    p50, p99 = delays(attack)
    lines.append(f"{p50 * 1000:>9.1f} ms  p50, {p99 * 1000:.1f} ms p99, from a publish to a live follower")
    return lines


def verdict(attack: Attack) -> list[str]:
    """What was found."""
    record = attack.record
    if not record.counts["violations"]:
        return ["No promise broke."]
    more = record.counts["violations"] - len(record.violations)
    return [
        f"{record.counts['violations']} times a promise broke:",
        *(f"  {what}" for what in record.violations),
        *([f"  and {more} more"] if more else []),
    ]


def delays(attack: Attack) -> tuple[float, float]:
    """The median and the 99th percentile in seconds; 0 where nothing was measured."""
    measured = sorted(delay for follower in attack.followers for delay in follower.delays)
    if not measured:
        return 0.0, 0.0
    return measured[len(measured) // 2], measured[min(len(measured) - 1, len(measured) * 99 // 100)]
