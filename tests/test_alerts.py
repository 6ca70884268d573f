"""The alert rules and the dashboard, held by the real promtool to what a real server says."""

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
"""Values over an hour, as promtool takes them, by name and labels."""

STATES: Mapping[str, Series] = {
    "RoomcastDown": {"up": "0+0x60"},
    "RoomcastLogUnwritable": {"roomcast_log_writable": "0+0x60"},
    "RoomcastDiskFilling": {"roomcast_log_disk_free_bytes": "100000000000-1000000000x60"},
    "RoomcastWriteAheadLogGrows": {'roomcast_log_disk_bytes{file="wal"}': "300000000+0x60"},
    "RoomcastDeliveryStands": {"roomcast_log_newest": "100+1x60", "roomcast_tail_position": "100+0x60"},
    "RoomcastAppendsSlow": {'roomcast_append_seconds_bucket{le="+Inf"}': "9+60x60"},
    "RoomcastDeliveriesSlow": {'roomcast_delivery_seconds_bucket{le="+Inf"}': "9+60x60"},
    "RoomcastLoopBlocked": {"roomcast_loop_longest_turn_seconds": "2.5+0x60"},
    "RoomcastClockWrong": {"roomcast_clock_seconds": "3600+60x60"},
    "RoomcastRetentionShort": {"roomcast_log_retention_seconds": "120+0x60"},
    "RoomcastMessagesLost": {'roomcast_gaps_total{reason="trimmed"}': "0+1x60"},
    "RoomcastFollowersBehind": {"roomcast_followers": "100+0x60", "roomcast_followers_behind": "50+0x60"},
    "RoomcastFollowersTakeNothing": {'roomcast_streams_ended_total{reason="slow"}': "0+2x60"},
    "RoomcastStreamsCut": {
        "roomcast_followers": "100+0x60",
        'roomcast_streams_ended_total{reason="client"}': "0+200x60",
    },
    "RoomcastFollowersFull": {"roomcast_followers": "18000+0x60", "roomcast_followers_limit": "18000+0x60"},
    "RoomcastConnectionsFull": {'roomcast_connections{state="following"}': "19000+0x60"},
    "RoomcastAnswersFull": {"roomcast_answer_bytes": "66000000+0x60"},
    "RoomcastFailing": {'roomcast_refusals_total{reason="log"}': "0+1x60"},
    "RoomcastFlood": {'roomcast_refusals_total{reason="rate"}': "0+120x60"},
    "RoomcastCredentialsRefused": {'roomcast_refusals_total{reason="credential"}': "0+120x60"},
}
"""What differs from a server that is well, and the one alert that must fire then."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a server says that has done a bit of everything."""
    running = start_roomcast(tmp_path_factory.mktemp("server"))
    with Observer(running.port, "/messages?room=a") as follower:
        follower.until_live()
        running.publish("x", "a")
        assert follower.texts(1) == ["x"]
        running.post({"room": "a"})
        wait_for(lambda: running.metric("roomcast_delivery_seconds_count") == 1, "a delivery")
        metrics = running.get("/metrics").text
    running.kill()
    return metrics


@pytest.fixture(scope="module")
def healthy(said: str) -> Series:
    """What that server said, standing still for an hour."""
    found = {"up": "1+0x60"}
    for family in text_string_to_metric_families(said):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            value = sample.value if math.isfinite(sample.value) else 1e9
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = f"{value:.0f}+0x60"
    # In promtool the hour begins at 0 seconds since 1970.
    found["roomcast_clock_seconds"] = "0+60x60"
    return found


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stderr


def test_promtool_finds_nothing_wrong_with_the_metrics(said: str) -> None:
    done = promtool("check", "metrics", given=said)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_each_metric_that_is_asked_for_is_one_that_the_server_has(file: Path, said: str) -> None:
    asked = set(re.findall(r"\b(?:roomcast|process)_\w+", file.read_text()))
    served = {sample.name for family in text_string_to_metric_families(said) for sample in family.samples}
    assert len(asked) > 20
    assert asked <= served


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for alert in re.findall(r"- alert: .*?(?=- alert:|\Z)", RULES.read_text(), re.DOTALL):
        for part in ("severity: ", "summary: ", "description: "):
            assert part in alert, alert


def test_each_alert_fires_in_its_state_alone(healthy: Series, tmp_path: Path) -> None:
    named = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert sorted(named) == sorted(STATES)
    crowd = {"roomcast_followers": "0+200x60", "roomcast_streams_opened_total": "0+200x60"}
    well = [evaluated({}, healthy), evaluated({}, healthy | crowd)]
    tests = [*well, *(evaluated({alert: 1}, healthy | of) for alert, of in STATES.items())]
    for found in STATES.values():
        assert set(found) <= set(healthy), "a series that the server does not have"
    file = tmp_path / "alerts.json"
    groups = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(json.dumps(groups))
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def evaluated(expected: Mapping[str, int], series: Series) -> dict[str, Any]:
    """A test for promtool: after an hour of these series exactly the expected alerts fire."""
    samples = [{"labels": f'{{alertname="{name}"}}', "value": count} for name, count in expected.items()]
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "interval": "1m",
        "name": ", ".join(expected) or "healthy",
        "input_series": [{"series": _labelled(name), "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{MINUTES}m", "exp_samples": samples}],
    }


def _labelled(series: str) -> str:
    """As Prometheus stores it."""
    name, _, labels = series.partition("{")
    target = 'job="roomcast",instance="a:8080"'
    return f"{name}{{{target}}}" if not labels else f"{name}{{{target},{labels}"


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [require("promtool"), *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=3 * PATIENCE, check=False)
