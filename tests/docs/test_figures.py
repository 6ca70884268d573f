"""The figures of the comparison equal the data of the run, to the last digit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUN: dict[str, Any] = json.loads((ROOT / "benchmarks/runs/2026-11-26-peers.json").read_text())
ROWS = [row["values"] for row in RUN["rows"]]


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without the line that separates its head."""
    text = (ROOT / page).read_text().partition(f"## {heading}\n")[2]
    lines = re.findall(r"^\|.*\|$", text.partition("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]


@pytest.mark.parametrize(
    ("page", "heading"), [("README.md", "Comparison"), ("docs/performance.md", "Beside other servers")]
)
def test_each_figure_is_that_of_the_run(page: str, heading: str) -> None:
    (_, *peers), *rows = table(page, heading)
    assert rows
    for _, *cells in rows:
        shown = dict(zip(peers, cells, strict=True))
        assert any(shown == {peer: written(values[peer]) for peer in peers} for values in ROWS), shown


def written(value: float | None) -> str:
    return "" if value is None else f"{value:,}"


def test_rows_in_which_another_server_is_ahead_are_shown_beside_the_others() -> None:
    _, *rows = table("README.md", "Comparison")
    best = [min if "second" not in work.rpartition(":")[2] else max for work, *_ in rows]
    ahead = [
        number(cells[0]) == choose(number(cell) for cell in cells)
        for (_, *cells), choose in zip(rows, best, strict=True)
    ]
    assert ahead.count(False) >= 4
    assert ahead[:5] == [True] * 5


def test_every_row_of_the_run_is_in_the_docs() -> None:
    assert len(table("docs/performance.md", "Beside other servers")) == len(ROWS) + 1


def number(cell: str) -> float:
    return float(cell.replace(",", ""))
