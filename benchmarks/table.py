"""The printed table: a block for each row, and the targets that were reached."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.results import Result, Verdict
from benchmarks.rows import Figure

WIDTH = 115
DISTURBED = 0.1
"""Share of a core: if other processes used more, a round's figures mean little."""


def heading(about: Mapping[str, Any]) -> str:
    """Describes the machine and the versions, from the facts `about` a run."""
    machine = ", ".join(f"{name} {value}" for name, value in about["machine"].items())
    size = ["--quick: a fifth of the followers and messages that each row names, once"] * about["quick"]
    lines = [machine, f"commit {about['commit']}", *size]
    return "\n".join([*lines, *(f"  {name}: {version}" for name, version in about["versions"].items())])


def block(result: Result) -> str:
    """Returns the text of one row's `result`: its figures, its targets, its notes."""
    row = result.row
    columns = ["", "durable", *(figure.heading for figure in row.figures)]
    lines = [_cells(result, name, row.figures) for name in result.rounds]
    parts = [f"## {row.title}", "", *_aligned([columns, *lines])]
    parts += [f"   {PEERS[name].label}: {text}" for name in result.rounds for text in result.failures(name)]
    if row.note:
        parts += textwrap.wrap(row.note, WIDTH, initial_indent="   ", subsequent_indent="   ")
    if result.disturbed() > DISTURBED:
        parts.append(f"   not idle: others used {result.disturbed():.0%} of a core in one of these runs")
    return "\n".join([*parts, *_verdicts(result), ""])


def summary(results: Sequence[Result]) -> str:
    """Says how many targets of `results` were reached, and names each that was not."""
    judged = [v for result in results for v in result.verdicts if not result.open(v)]
    missed = [(result, verdict) for result in results for verdict in result.missed]
    lines = [f"{len(judged) - len(missed)} of {len(judged)} targets reached"]
    lines += [f"  ✗ {result.row.key}, {PEERS[verdict.peer].label}: {verdict}" for result, verdict in missed]
    return "\n".join(lines)


def _verdicts(result: Result) -> list[str]:
    rows = [(PEERS[verdict.peer].label, f"{verdict}{_excuse(result, verdict)}") for verdict in result.verdicts]
    marks = ("?" if result.open(v) else "✗" if v in result.missed else "✓" for v in result.verdicts)
    return [f" {mark}{line[2:]}" for mark, line in zip(marks, _aligned(rows), strict=True)]


def _excuse(result: Result, verdict: Verdict) -> str:
    return "; the other holds" if result.reached(verdict) and not verdict.good else ""


def _cells(result: Result, peer: str, figures: Sequence[Figure]) -> list[str]:
    values = (result.figure(peer, figure.key) for figure in figures)
    cells = [number(value * f.scale, f.digits) for f, value in zip(figures, values, strict=True)]
    return [PEERS[peer].label, PEERS[peer].durable, *cells]


def number(value: float, digits: int) -> str:
    """Writes a `value` with `digits` decimals and separated thousands; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["   " + "  ".join(_padded(row, widths)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if i < 2 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
