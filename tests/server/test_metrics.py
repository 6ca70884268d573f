"""`GET /metrics`: every number is documented, and counts what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.observer import Observer
from tests.running import Running, start_roomcast, wait_for

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
Values = dict[str, float]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start_roomcast(tmp_path_factory.mktemp("server"), "--max-messages=10", "--max-followers=2")
    yield running
    running.kill()


def values(server: Running) -> Values:
    """Each of our samples by its name, with its labels."""
    found = {}
    for family in text_string_to_metric_families(server.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return {name.removeprefix("roomcast_"): value for name, value in found.items() if name.startswith("roomcast_")}


def moved(server: Running, before: Values) -> Values:
    """What changed since, apart from the requests' own count and the time they took."""
    now = values(server)
    changes = {name: value - before.get(name, 0) for name, value in now.items() if value != before.get(name, 0)}
    return {n: v for n, v in changes.items() if not n.startswith("requests") and n != "append_seconds_sum"}


def test_the_answer_is_in_prometheus_text_format(server: Running) -> None:
    answer = server.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= {family.name for family in families}


def test_every_name_is_documented_and_every_documented_name_is_there(server: Running) -> None:
    families = text_string_to_metric_families(server.get("/metrics").text)
    total = {"counter": "_total"}
    served = {
        family.name + total.get(family.type, "") for family in families if family.name.startswith("roomcast_")
    }
    documented = set(re.findall(r"`(roomcast_[a-z_]+)(?:\{[a-z,]+\})?`", DOCS.read_text()))
    assert served == documented


def test_a_label_is_there_before_it_is_first_counted(server: Running) -> None:
    found = values(server)
    for reason in ("client", "slow", "drain", "overload", "error"):
        assert f"streams_ended_total{{reason={reason}}}" in found
    for reason in ("trimmed", "epoch", "future", "malformed"):
        assert f"gaps_total{{reason={reason}}}" in found


def test_publishing_counts_what_was_stored_and_not_what_was_refused_or_repeated(server: Running) -> None:
    before = values(server)
    message = {"room": "a", "text": "x"}
    server.post(message)
    server.post([message] * 3, headers={"Idempotency-Key": "k"})
    server.post([message] * 3, headers={"Idempotency-Key": "k"})
    server.post({"room": "a"})
    changes = moved(server, before)
    assert (changes["messages_published_total"], changes["append_seconds_count"]) == (4, 3)
    assert changes["log_newest"] == changes["tail_position"] == 4


def test_requests_are_counted_by_method_and_status(server: Running) -> None:
    before = values(server)
    server.post({"room": "a"})
    server.get("/nothing")
    now = values(server)
    for name in ("requests_total{method=POST,status=422}", "requests_total{method=GET,status=404}"):
        assert now[name] - before.get(name, 0) == 1


def test_the_log_is_told_as_it_is(server: Running) -> None:
    for number in range(12):
        server.publish(str(number % 10), "b")
    wait_for(lambda: values(server)["log_messages"] == 10, "trimming")
    now = values(server)
    assert now["log_bytes"] == 10 * len('{"room":"b","user":"anonymous","text":"0"}')
    assert now["log_newest"] == now["tail_position"] == int(server.get("/readyz").json()["position"].split("-")[1])


def test_followers_are_counted_as_they_come_and_go_and_why(server: Running) -> None:
    before = values(server)
    assert before["followers_limit"] == 2
    with Observer(server.port, "/messages?room=c") as one, Observer(server.port, "/messages?room=c") as two:
        one.until_live()
        two.until_live()
        server.publish("x", "c")
        assert one.texts(1) == two.texts(1) == ["x"]
        now = moved(server, before)
        assert (now["followers"], now["streams_opened_total"], now["deliveries_total"]) == (2, 2, 2)
        assert "followers_behind" not in now
        with Observer(server.port, "/messages?room=c") as three:
            assert three.next_or_end() is None
        assert moved(server, before)["streams_ended_total{reason=overload}"] == 1
    wait_for(lambda: moved(server, before).get("streams_ended_total{reason=client}") == 2, "their end")
    assert values(server)["followers"] == 0


def test_gaps_are_counted_by_their_reason(server: Running) -> None:
    first = str(server.publish("x", "d")["id"])
    for _ in range(11):
        server.publish("y", "d")
    epoch = first.split("-")[0]
    before = values(server)
    for id, reason in [
        (f"{epoch}-1", "trimmed"),
        ("abcd-1", "epoch"),
        (f"{epoch}-999999", "future"),
        ("x", "malformed"),
    ]:
        with Observer(server.port, f"/messages?room=d&last_event_id={id}") as follower:
            assert follower.next().json["reason"] == reason
        wait_for(lambda: values(server)["followers"] == 0, "its end")
        assert moved(server, before)[f"gaps_total{{reason={reason}}}"] == 1


def test_the_metrics_say_how_far_each_consumer_of_the_log_is(server: Running) -> None:
    newest = int(str(server.publish("x")["id"]).split("-")[1])
    wait_for(lambda: values(server)["consumer_position{consumer=delivery}"] == newest, "its delivery")
