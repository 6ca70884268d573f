"""`GET /metrics`: every number is documented, and counts what it says."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
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
    running.end()


def values(server: Running) -> Values:
    """Each of our samples by its name, with its labels."""
    found = {}
    for family in text_string_to_metric_families(server.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return {name.removeprefix("roomcast_"): value for name, value in found.items() if name.startswith("roomcast_")}


def moved(server: Running, before: Values) -> Values:
    """The changes since, apart from the requests' own count and the time they took."""
    now = values(server)
    changes = {name: value - before.get(name, 0) for name, value in now.items() if value != before.get(name, 0)}
    return {n: v for n, v in changes.items() if not n.startswith("requests") and not n.endswith("_seconds_sum")}


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
    elsewhere = {name for name in documented if name.startswith(("roomcast_worker_", "roomcast_outbox_"))}
    assert len(elsewhere) > 2  # of several workers, and of a log in PostgreSQL
    assert served == documented - elsewhere


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


def test_the_metrics_of_the_log_are_what_it_holds(server: Running) -> None:
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


def test_each_turn_that_delivers_is_timed_once_however_many_follow(server: Running) -> None:
    before = values(server)
    with Observer(server.port, "/messages?room=e") as one, Observer(server.port, "/messages?room=e") as two:
        one.until_live()
        two.until_live()
        server.publish("x", "nobody follows this")
        server.post([{"room": "e", "text": "x"}, {"room": "e", "text": "y"}])
        assert one.texts(2) == two.texts(2) == ["x", "y"]
        now = moved(server, before)
    assert now["deliveries_total"] == 4
    assert now["delivery_seconds_count"] == now["delivery_seconds_bucket{le=+Inf}"] == 1
    assert now["delivery_seconds_bucket{le=30}"] == 1


def test_connections_are_counted_by_their_state(server: Running) -> None:
    with Observer(server.port, "/messages?room=f") as follower:
        follower.until_live()
        now = values(server)
        assert now["connections{state=following}"] == 1
        assert now["connections{state=waiting}"] >= 1
        assert now["connections_limit"] > now["followers_limit"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "reason"),
    [
        ("/messages", {"room": "a"}, {}, "invalid"),
        ("/messages", {"room": "a", "text": "x"}, {"Authorization": "x"}, ""),
        ("/messages", {"room": "a", "text": "x"}, {"Host": "example.org"}, "host"),
        ("/nothing", {}, {}, ""),
    ],
)
def test_refusals_are_counted_by_their_reason(
    server: Running, path: str, body: object, headers: dict[str, str], reason: str
) -> None:
    before = values(server)
    httpx.post(server.url + path, json=body, headers=headers)
    refused = {name for name in moved(server, before) if name.startswith("refusals")}
    assert refused == ({f"refusals_total{{reason={reason}}}"} if reason else set())


def test_bytes_that_are_not_http_count_as_a_refusal_too(server: Running) -> None:
    before = values(server)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"nonsense\r\n\r\n")
        client.recv(1000)
    assert moved(server, before)["refusals_total{reason=invalid}"] == 1


def test_the_metrics_have_the_size_of_the_logs_files_and_the_free_space_of_their_disk(server: Running) -> None:
    now = values(server)
    for file, name in (("database", "test.db"), ("wal", "test.db-wal")):
        assert now[f"log_disk_bytes{{file={file}}}"] == (server.folder / name).stat().st_size
    assert now["log_disk_free_bytes"] > 0
