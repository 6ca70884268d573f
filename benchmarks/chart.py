"""The chart of docs/performance.md, from the JSON: `python -m benchmarks.chart bench.json docs/img/bench.svg`.

Plain SVG, so that it can be read in a diff: bars, and each figure as text; its colours follow the reader's light
or dark setting.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.table import number

WIDTH, LABELS, VALUES = 760, 160, 180
"""Widths of the picture, of the names on the left, and of the figures on the right."""
MARGIN, BAR, LINE, HEADING, GAP = 14, 14, 22, 26, 22

STYLE = """
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .small { font-size: 11px; fill: #59636e; }
  rect { fill: #8c959f; }
  .ours { fill: #0969da; }
  .floor { fill: #c8cdd3; }
  .ground { fill: #ffffff; stroke: #d1d9e0; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .small { fill: #9198a1; }
    rect { fill: #7d8590; }
    .ours { fill: #4493f8; }
    .floor { fill: #484f58; }
    .ground { fill: #0d1117; stroke: #3d444d; }
  }
"""


@dataclass(frozen=True)
class Panel:
    """One figure of one row, a bar for each server."""

    row: str
    figure: str
    title: str
    unit: str
    digits: int
    durable: bool = False
    """Whether each bar says if the publish is durable."""


PANELS = (
    Panel(
        "paced",
        "cpu_us",
        "CPU per delivery: 5,000 followers of one room, at a fixed pace (less is better)",
        "µs",
        1,
    ),
    Panel(
        "burst",
        "cpu_us",
        "CPU per delivery: 1,000 followers, 32 publishers at full speed (less is better)",
        "µs",
        2,
    ),
    Panel("idle", "kb", "Memory for each of 15,000 idle followers (less is better)", "KB", 1),
    Panel(
        "publish", "publishes_per_s", "Publishes a second, 32 connections (more is better)", "/s", 0, durable=True
    ),
)


def chart(document: Mapping[str, Any]) -> str:
    """Draws the rows of `document`, the JSON of a run, as SVG; rows that were not run are left out."""
    rows = {row["key"]: row for row in document["rows"]}
    parts, y = [], GAP + 4
    for panel in PANELS:
        if bars := _bars(rows.get(panel.row), panel):
            drawn, y = _panel(panel, bars, y)
            parts += drawn
    for line in _footer(document):
        parts.append(f'<text class="small" x="{MARGIN}" y="{y}">{escape(line)}</text>')
        y += 16
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" '
        f'height="{y}" role="img">\n<title>roomcast and its peers, measured in one run</title>\n'
        # The chart draws its own background: its colours follow the browser's setting, not GitHub's theme.
        f"<style>{STYLE}</style>\n"
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{y - 1}" rx="6"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


@dataclass(frozen=True)
class Bar:
    """A server's figure."""

    peer: str
    label: str
    value: float
    durable: str

    @property
    def kind(self) -> str:
        """The bar's class in `STYLE`."""
        kinds = {"floor": "floor", "roomcast": "ours"}
        return kinds.get(self.peer.partition("-")[0], "other")


def _bars(row: Mapping[str, Any] | None, panel: Panel) -> list[Bar]:
    if row is None:
        return []
    figures = ((name, peer, peer["figures"].get(panel.figure)) for name, peer in row["peers"].items())
    return [Bar(name, peer["label"], value, peer["durable"]) for name, peer, value in figures if value is not None]


def _panel(panel: Panel, bars: Sequence[Bar], y: int) -> tuple[list[str], int]:
    longest = max(bar.value for bar in bars) or 1
    parts = [f'<text class="title" x="{MARGIN}" y="{y}">{escape(panel.title)}</text>']
    for place, bar in enumerate(bars):
        top = y + HEADING - BAR + place * LINE
        width = max(1.0, bar.value / longest * (WIDTH - LABELS - VALUES))
        figure = f"{number(bar.value, panel.digits)} {panel.unit}"
        if panel.durable:
            figure += ", durable" if bar.durable.startswith("yes") else ", not durable"
        parts += [
            f'<text x="{LABELS - 8}" y="{top + BAR - 3}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect class="{bar.kind}" x="{LABELS}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2"/>',
            f'<text x="{LABELS + width + 6:.1f}" y="{top + BAR - 3}">{escape(figure)}</text>',
        ]
    return parts, y + HEADING + len(bars) * LINE + GAP


def _footer(document: Mapping[str, Any]) -> list[str]:
    machine = document["machine"]
    rounds = f"median of {document['rounds']} interleaved rounds" + (
        ", QUICK: not to be quoted" * document["quick"]
    )
    where = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, Linux {machine['kernel']}"
    return [f"{document['made'][:10]}, {rounds}; server on one core, load on the other", where]


def main() -> None:
    """Draws the file that the command line names into another one. Raises `SystemExit` with the usage unless two
    are named."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    picture = chart(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).parent.mkdir(parents=True, exist_ok=True)
    Path(sys.argv[2]).write_text(picture)


if __name__ == "__main__":
    main()
