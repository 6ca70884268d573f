"""The alert rules and the dashboard, checked with the real promtool against a real server's metrics."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import require
from tests.observer import Observer
from tests.running import PATIENCE, start_roomcast, wait_for

DEPLOY = Path(__file__).parents[1] / "deploy"
RULES = DEPLOY / "prometheus/roomcast.rules.yml"
DASHBOARD = DEPLOY / "grafana/roomcast.json"
MINUTES = 60
Series = dict[str, str]
"""Values over an hour in promtool's notation, by name and labels."""


def observed(metric: str, at_most: str) -> Series:
    """A histogram in which each minute counts 60 more, all of them within `at_most` seconds."""
    ends = ("0.25", "0.5", "1", "2.5", "5", "10", "30", "+Inf")
    return {f'roomcast_{metric}_bucket{{le="{end}"}}': "9+60x60" for end in ends[ends.index(at_most) :]}


def refused(reason: str, a_minute: int) -> Series:
    return {f'roomcast_refusals_total{{reason="{reason}"}}': f"0+{a_minute}x60"}


def ended(reason: str, a_minute: float) -> Series:
    return {f'roomcast_streams_ended_total{{reason="{reason}"}}': f"0+{a_minute}x60"}


def now_and_then(value: str) -> str:
    """A value that is 0 in every third minute, when all followers were just cut and are not back yet."""
    return f"{value} {value} 0 " * 20 + value


FOLLOWERS, BEHIND = "roomcast_followers", "roomcast_followers_behind"
FREE, WAL = "roomcast_log_disk_free_bytes", 'roomcast_log_disk_bytes{file="wal"}'
NEWEST, DELIVERED = "roomcast_log_newest", "roomcast_tail_position"
RESTARTS = 'roomcast_worker_restarts_total{worker="2"}'
ISSUER = 'roomcast_issuer_away{issuer="https://login.example.org"}'
STATES: Mapping[str, tuple[Series, Series]] = {
    "RoomcastDown": ({"up": "0+0x60"}, {"up": "1+0x59 0"}),
    "RoomcastLogUnwritable": ({"roomcast_log_writable": "0+0x60"}, {"roomcast_log_writable": "1+0x59 0"}),
    "RoomcastDiskFilling": ({FREE: "100000000000-1000000000x60"}, {FREE: "600000000+0x60"}),
    "RoomcastWriteAheadLogGrows": ({WAL: "300000000+0x60"}, {WAL: "250000000+0x60"}),
    "RoomcastDeliveryStopped": (
        {NEWEST: "100+1x60", DELIVERED: "100+0x60"},
        {NEWEST: "101+1x60", DELIVERED: "100+1x60"},
    ),
    "RoomcastAppendsSlow": (observed("append_seconds", "1"), observed("append_seconds", "0.5")),
    "RoomcastDeliveriesSlow": (observed("delivery_seconds", "2.5"), observed("delivery_seconds", "1")),
    "RoomcastLoopBlocked": (
        {"roomcast_loop_longest_turn_seconds": "2.5+0x60"},
        {"roomcast_loop_longest_turn_seconds": "0.9+0x60"},
    ),
    "RoomcastClockWrong": ({"roomcast_clock_seconds": "3600+60x60"}, {"roomcast_clock_seconds": "25+60x60"}),
    "RoomcastRetentionShort": (
        {"roomcast_log_retention_seconds": "120+0x60"},
        {"roomcast_log_retention_seconds": "700+0x60"},
    ),
    "RoomcastMessagesLost": (
        {'roomcast_gaps_total{reason="trimmed"}': "0+1x60"},
        {'roomcast_gaps_total{reason="deleted"}': "0+1x60"},
    ),
    "RoomcastFollowersBehind": (
        {FOLLOWERS: "100+0x60", BEHIND: now_and_then("50")},
        {FOLLOWERS: "100+0x60", BEHIND: "15+0x60"},
    ),
    "RoomcastFollowersStuck": (ended("slow", 2), ended("slow", 0.4)),
    "RoomcastStreamsCut": (
        {FOLLOWERS: now_and_then("100"), **ended("client", 200)},
        {FOLLOWERS: "100+0x60", **ended("client", 60)},
    ),
    "RoomcastFollowersFull": (
        {FOLLOWERS: "18000+0x60", "roomcast_followers_limit": "18000+0x60"},
        {FOLLOWERS: "16000+0x60", "roomcast_followers_limit": "18000+0x60"},
    ),
    "RoomcastConnectionsFull": (
        {'roomcast_connections{state="following"}': "19000+0x60", "roomcast_connections_limit": "20000+0x60"},
        {'roomcast_connections{state="following"}': "17000+0x60", "roomcast_connections_limit": "20000+0x60"},
    ),
    "RoomcastAnswersFull": (
        {"roomcast_answer_bytes": "66000000+0x60", "roomcast_answer_bytes_limit": "67000000+0x60"},
        {"roomcast_answer_bytes": "60000000+0x60", "roomcast_answer_bytes_limit": "67000000+0x60"},
    ),
    "RoomcastFailing": (refused("log", 1), refused("invalid", 600)),
    "RoomcastWorkerReplaced": ({RESTARTS: "0+0x54 1+0x5"}, {RESTARTS: "3+0x60"}),
    "RoomcastIssuerAway": ({ISSUER: "1+0x60"}, {ISSUER: "0+0x57 1+0x2"}),
    "RoomcastFlood": (refused("rate", 120), refused("rate", 50)),
    "RoomcastCredentialsRefused": (refused("credential", 120), refused("credential", 50)),
}
"""For each alert the metrics of a state in which it alone must fire, and of one that is nearly as bad, in which no
alert may fire. They replace those of a healthy server."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The metrics of a server with workers and an issuer of tokens, after requests of each kind."""
    folder = tmp_path_factory.mktemp("server")
    row = "[[issuer]]\niss = 'https://login.example.org'\njwks = 'http://127.0.0.1:1/'\naudience = 'a'\n"
    (folder / "roomcast.toml").write_text(f"open = true\n{row}")
    running = start_roomcast(folder, "--workers=2", "--config=roomcast.toml")
    with Observer(running.port, "/messages?room=a") as follower:
        follower.until_live()
        running.publish("x", "a")
        assert follower.texts(1) == ["x"]
        running.post({"room": "a"})
        wait_for(lambda: running.metric("roomcast_delivery_seconds_count") == 1, "a delivery")
        wait_for(lambda: running.metric(ISSUER) == 1, "a fetch that fails")
        metrics = running.get("/metrics").text
    running.kill()
    return metrics


@pytest.fixture(scope="module")
def healthy(said: str) -> Series:
    """That server's metrics, constant for an hour, with its issuer reachable."""
    found = {"up": "1+0x60"}
    for family in text_string_to_metric_families(said):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            value = sample.value if math.isfinite(sample.value) else 1e9
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = f"{value:.0f}+0x60"
    # In promtool the hour begins at 0 seconds since 1970.
    return found | {"roomcast_clock_seconds": "0+60x60", ISSUER: "0+0x60"}


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stderr


def test_promtool_finds_nothing_wrong_with_the_metrics(said: str) -> None:
    done = promtool("check", "metrics", given=said)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_each_metric_that_they_query_is_one_that_the_server_has(file: Path, said: str) -> None:
    asked = set(re.findall(r"\b(?:roomcast|process)_\w+", file.read_text()))
    served = {sample.name for family in text_string_to_metric_families(said) for sample in family.samples}
    assert len(asked) > 20
    assert asked <= served


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for alert in re.findall(r"- alert: .*?(?=- alert:|\Z)", RULES.read_text(), re.DOTALL):
        for part in ("severity: ", "summary: ", "description: "):
            assert part in alert, alert


def test_each_alert_fires_in_its_state_alone_and_not_just_below(healthy: Series, tmp_path: Path) -> None:
    named = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert sorted(named) == sorted(STATES)
    crowd = {"roomcast_followers": "0+200x60", "roomcast_streams_opened_total": "0+200x60"}
    well = [evaluated({}, healthy), evaluated({}, healthy | crowd)]
    for bad, nearly in STATES.values():
        assert set(bad) | set(nearly) <= set(healthy), "a series that the server does not have"
    fires = [evaluated({alert: 1}, healthy | bad) for alert, (bad, _) in STATES.items()]
    silent = [evaluated({}, healthy | nearly, f"nearly {alert}") for alert, (_, nearly) in STATES.items()]
    tests = [*well, *fires, *silent]
    file = tmp_path / "alerts.json"
    groups = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(json.dumps(groups))
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def evaluated(expected: Mapping[str, int], series: Series, name: str = "healthy") -> dict[str, Any]:
    """A test for promtool: after an hour of these series exactly the expected alerts are firing."""
    samples = [{"labels": f'{{alertname="{name}"}}', "value": count} for name, count in expected.items()]
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "interval": "1m",
        "name": ", ".join(expected) or name,
        "input_series": [{"series": _labelled(name), "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{MINUTES}m", "exp_samples": samples}],
    }


def _labelled(series: str) -> str:
    """The series with the labels that Prometheus adds when it stores them."""
    name, _, labels = series.partition("{")
    target = 'job="roomcast",instance="a:8080"'
    return f"{name}{{{target}}}" if not labels else f"{name}{{{target},{labels}"


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [require("promtool"), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=3 * PATIENCE, check=False)
