"""How the benchmark computes its figures from its rounds. The measuring itself is not tested."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from benchmarks import chart, results, table
from benchmarks.results import Result, Rounds
from benchmarks.rows import ROWS, Row

SVG = "{http://www.w3.org/2000/svg}"


def row(key: str) -> Row:
    [found] = [row for row in ROWS if row.key == key]
    return found


def paced(**cpu: list[float]) -> Result:
    """The first row, with these figures in its rounds."""
    rounds: Rounds = {
        name.replace("_", "-"): [{"cpu_us": value, "p99_ms": 1.0, "lost": 0, "wrong": 0} for value in values]
        for name, values in cpu.items()
    }
    return Result(row("paced"), rounds)


def reached(result: Result, text: str) -> list[bool]:
    return [result.reached(verdict) for verdict in result.verdicts if text in str(verdict)]


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_medians() -> None:
    result = paced(roomcast=[10.0, 20.0, 90.0], floor=[10.0, 40.0, 60.0])
    [verdict] = [v for v in result.verdicts if v.target.against == "floor"]
    assert verdict.reached == 1.0  # of 1, 0.5 and 1.5; the medians' ratio is 0.5


def test_a_target_is_reached_at_its_limit_and_missed_beyond() -> None:
    assert reached(paced(roomcast=[12.0], floor=[10.0]), "C floor") == [True]
    assert reached(paced(roomcast=[12.1], floor=[10.0]), "C floor") == [False]


def test_a_target_against_a_server_that_was_not_run_is_open_and_not_missed() -> None:
    result = paced(roomcast=[99.0])
    assert not any(verdict.target.against for verdict in result.missed)
    assert all(result.open(verdict) for verdict in result.verdicts if verdict.target.against)


def test_a_message_lost_in_one_round_of_three_is_a_target_missed() -> None:
    result = paced(roomcast=[1.0, 1.0, 1.0], floor=[1.0, 1.0, 1.0])
    assert reached(result, "deliveries missing") == [True]
    rounds: Rounds = {"roomcast": [{"cpu_us": 1.0, "lost": lost, "wrong": 0} for lost in (0, 7, 0)]}
    assert reached(Result(row("paced"), rounds), "deliveries missing") == [False]


def test_a_failed_round_is_reported_and_counts_for_nothing() -> None:
    result = Result(row("paced"), {"roomcast": [{"error": "it did not start"}], "floor": [{"cpu_us": 1.0}]})
    assert math.isnan(result.figure("roomcast", "cpu_us"))
    assert result.failures("roomcast") == ["it did not start"]
    assert result.missed
    assert "it did not start" in table.block(result)


def test_of_a_group_one_target_is_enough() -> None:
    rounds: Rounds = {
        "roomcast": [{"publishes_per_s": 1_000.0, "failed": 0}],
        "roomcast-sqlite": [{"publishes_per_s": 700.0, "syncs_per_s": 500.0, "failed": 0}],
    }
    assert reached(Result(row("publish"), rounds), "syncs") == [True]
    rounds["roomcast-sqlite"] = [{"publishes_per_s": 500.0, "syncs_per_s": 500.0, "failed": 0}]
    assert reached(Result(row("publish"), rounds), "syncs") == [False]


def document(tmp_path: Path) -> dict[str, Any]:
    about = {
        "made": "2026-11-22T06:27:00+00:00",
        "rounds": 3,
        "quick": False,
        "machine": {"cpu": "A <fast> CPU", "cores": 2, "python": "3.11", "kernel": "6.1"},
    }
    results.write(tmp_path / "bench.json", about, [paced(roomcast=[5.0], floor=[math.nan], nchan=[10.0])])
    written: dict[str, Any] = json.loads((tmp_path / "bench.json").read_text())
    return written


def test_the_file_is_json_with_every_round_and_null_for_what_is_not_known(tmp_path: Path) -> None:
    [paced_row] = document(tmp_path)["rows"]
    assert paced_row["peers"]["nchan"]["rounds"] == [{"cpu_us": 10.0, "p99_ms": 1.0, "lost": 0, "wrong": 0}]
    assert paced_row["peers"]["floor"]["figures"]["cpu_us"] is None


def test_the_chart_has_a_bar_in_proportion_for_each_server_with_a_figure(tmp_path: Path) -> None:
    picture = ET.fromstring(chart.chart(document(tmp_path)))
    widths = {bar.get("class"): float(bar.get("width", "")) for bar in picture.iter(f"{SVG}rect")}
    assert widths["ours"] * 2 == widths["other"]
    assert "floor" not in widths
    texts = [text.text or "" for text in picture.iter(f"{SVG}text")]
    assert "5.0 µs" in texts
    assert any("A <fast> CPU" in text for text in texts)


def test_the_readmes_chart_is_one_that_the_script_makes() -> None:
    picture = ET.fromstring(Path("docs/img/bench.svg").read_text())
    titles = [text.text for text in picture.iter(f"{SVG}text") if text.get("class") == "title"]
    assert titles == [panel.title for panel in chart.PANELS]
