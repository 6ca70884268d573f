"""The stream, from outside, over every way there is to serve it: the socket itself, TLS and plain ASGI, over
HTTP/1.1 and 1.0."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.certificate import Certificate
from tests.observer import Observer
from tests.running import PATIENCE, Running, start_roomcast, start_uvicorn, wait_for

WAYS = ["socket 1.1", "socket 1.0", "tls 1.1", "tls 1.0", "asgi 1.1", "asgi 1.0"]


class Way:
    """A server reached in one of the ways."""

    def __init__(self, running: Running, version: str) -> None:
        self.running = running
        self.version = version

    def follow(self, target: str = "/messages?room=developers", **kwargs: Any) -> Observer:
        return Observer(self.running.port, target, version=self.version, **kwargs)

    def publish(self, text: str, room: str = "developers", **fields: object) -> dict[str, Any]:
        return self.running.publish(text, room, **fields)


@pytest.fixture(params=WAYS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Way]]:
    kind, version = request.param.split()
    started: list[Running] = []

    def begin(**options: object) -> Way:
        certificate = Certificate(tmp_path) if kind == "tls" else None
        started.append(_asgi(tmp_path, options) if kind == "asgi" else _socket(tmp_path, options, certificate))
        return Way(started[-1], version)

    yield begin
    for running in started:
        running.end()
        assert "Traceback" not in running.said()


def _socket(folder: Path, options: dict[str, object], certificate: Certificate | None) -> Running:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return start_roomcast(folder, *flags, certificate=certificate)


def _asgi(folder: Path, options: dict[str, object]) -> Running:
    asked = json.dumps({"log": "sqlite:test.db", **options})
    path = str(Path(__file__).parents[2])
    # uvicorn's h11: its other parser sends chunks to HTTP/1.0 clients, too.
    return start_uvicorn(
        folder, "tests.hosted:app", "--http=h11", "--app-dir", path, env={"ROOMCAST_TEST_OPTIONS": asked}
    )


@pytest.fixture
def way(start: Callable[..., Way]) -> Way:
    return start()


def test_the_head_and_the_first_block_come_at_once(way: Way) -> None:
    with way.follow() as follower:
        assert follower.status == 200
        assert follower.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert follower.headers["cache-control"] == "no-store, no-transform"
        assert follower.headers["x-accel-buffering"] == "no"
        assert follower.headers["connection"] == "close"
        assert ("transfer-encoding" in follower.headers) == (way.version == "1.1")
        live = follower.next()
        assert (live.name, live.json) == ("live", {"replayed": 0})
        assert live.id.endswith("-0")
        assert follower.retry == 3000


def test_a_stream_is_history_then_live_then_new_messages(way: Way) -> None:
    stored = [way.publish(text) for text in "abc"]
    with way.follow() as follower:
        *replayed, live = follower.until_live()
        assert [event.json for event in replayed] == stored
        assert [event.id for event in replayed] == [message["id"] for message in stored]
        assert (live.id, live.json) == (stored[-1]["id"], {"replayed": 3})
        way.publish("elsewhere", "designers")
        new = way.publish("d")
        assert follower.next().json == new


def test_a_type_becomes_the_event_and_data_is_kept_as_it_is(way: Way) -> None:
    with way.follow() as follower:
        follower.until_live()
        way.publish("x", type="order.paid", data={"amount": 1.50, "lines": ["a\nb", None]})
        event = follower.next()
        assert event.name == "order.paid"
        assert event.json["type"] == "order.paid"
        assert event.json["data"] == {"amount": 1.50, "lines": ["a\nb", None]}


@pytest.mark.parametrize(
    ("replay", "expected"),
    [("all", "abcde"), ("none", ""), ("0", ""), ("2", "de"), ("99", "abcde")],
)
def test_replay_in_all_its_forms(server: Running, replay: str, expected: str) -> None:
    for text in "abcde":
        server.publish(text)
        server.publish("noise", "other")
    with Observer(server.port, f"/messages?room=developers&replay={replay}") as follower:
        *replayed, live = follower.until_live()
        assert "".join(event.json["text"] for event in replayed) == expected
        assert live.json == {"replayed": len(expected)}
        server.publish("new")
        assert follower.texts(1) == ["new"]


def test_replay_n_counts_over_all_rooms_together(server: Running) -> None:
    for number in range(6):
        server.publish(str(number), "even" if number % 2 == 0 else "odd")
    with Observer(server.port, "/messages?room=even&room=odd&replay=3") as follower:
        assert [event.json["text"] for event in follower.until_live()[:-1]] == ["3", "4", "5"]


def test_since_a_duration_and_since_a_time(server: Running) -> None:
    server.publish("a")
    second = server.publish("b")
    for since, expected in (("10m", ["a", "b"]), (str(second["timestamp"]), ["b"]), ("2099-01-01T00:00:00Z", [])):
        with Observer(server.port, f"/messages?room=developers&since={since}") as follower:
            found = [event.json["text"] for event in follower.until_live()[:-1]]
            # Two messages stored within one millisecond have one time.
            assert found[-len(expected) or len(found) :] == expected


def test_a_resume_is_exact_by_header_and_by_query(way: Way) -> None:
    ids = [way.publish(text)["id"] for text in "abcd"]
    with way.follow(headers={"Last-Event-ID": ids[1]}) as follower:
        assert follower.texts(2) == ["c", "d"]
        assert follower.next().json == {"replayed": 2}
    with way.follow(f"/messages?room=developers&last_event_id={ids[2]}&replay=none") as follower:
        assert follower.texts(1) == ["d"]
    with way.follow(f"/messages?room=developers&last_event_id={ids[0]}", headers={"Last-Event-ID": ids[3]}) as f:
        assert f.next().json == {"replayed": 0}


def test_a_client_cut_before_its_first_message_resumes_by_the_id_of_live(way: Way) -> None:
    with way.follow("/messages?room=developers&replay=none") as follower:
        follower.until_live()
    way.publish("missed")
    with way.follow("/messages?room=developers&replay=none", headers={"Last-Event-ID": follower.last_id}) as again:
        assert again.texts(1) == ["missed"]


def test_several_rooms_come_in_one_order(way: Way) -> None:
    with way.follow("/messages?room=a&room=b&room=a") as follower:
        follower.until_live()
        published = [way.publish(str(n), "ab"[n % 2])["id"] for n in range(10)]
        assert [follower.next().id for _ in range(10)] == published


def test_a_gap_says_from_where_to_where_and_how_much(start: Callable[..., Way]) -> None:
    way = start(max_messages=5)
    ids = [way.publish(str(n))["id"] for n in range(20)]
    with way.follow(headers={"Last-Event-ID": ids[9]}) as follower:
        gap = follower.next()
        assert gap.name == "gap"
        assert gap.json == {
            "after": ids[9],
            "resumes_at": ids[15],
            "rooms": ["developers"],
            "lost_at_most": 5,
            "reason": "trimmed",
        }
        assert gap.id == ids[14]
        assert follower.texts(5) == ["15", "16", "17", "18", "19"]


def test_the_follower_of_a_quiet_room_hears_no_false_alarm(start: Callable[..., Way]) -> None:
    way = start(max_messages=10)
    quiet = way.publish("quiet", "quiet")
    with way.follow("/messages?room=quiet") as follower:
        follower.until_live()
    for number in range(50):
        way.publish(str(number), "busy")
    with way.follow("/messages?room=quiet", headers={"Last-Event-ID": str(quiet["id"])}) as follower:
        assert follower.next().name == "live"
    with way.follow("/messages?room=quiet", headers={"Last-Event-ID": f"{quiet['id'][:-1]}0"}) as follower:
        gap = follower.next()
        assert (gap.name, gap.json["resumes_at"], gap.json["lost_at_most"]) == ("gap", None, 1)
        assert follower.next().name == "live"


def test_an_unknown_id_is_reported_and_everything_retained_follows(way: Way) -> None:
    first = way.publish("a")["id"]
    epoch = first.split("-")[0]
    wrong = [("abcd-1", "epoch"), (f"{epoch}-7", "future"), ("66f2c0ffee", "malformed"), ("ü", "malformed")]
    for id, reason in wrong:
        with way.follow(f"/messages?room=developers&last_event_id={quote(id)}") as follower:
            gap = follower.next()
            assert gap.json == {
                "after": id,
                "resumes_at": first,
                "rooms": ["developers"],
                "lost_at_most": None,
                "reason": reason,
            }
            assert gap.id == f"{epoch}-0"
            assert follower.texts(1) == ["a"]


def test_a_since_that_reaches_back_past_what_is_retained_is_a_gap(start: Callable[..., Way]) -> None:
    way = start(max_messages=2)
    ids = [way.publish(text)["id"] for text in "abcd"]
    with way.follow("/messages?room=developers&since=1h") as follower:
        gap = follower.next()
        assert (gap.json["after"], gap.json["resumes_at"], gap.json["lost_at_most"]) == (None, ids[2], 2)
        assert follower.texts(2) == ["c", "d"]
    with way.follow("/messages?room=silent&since=1h") as follower:
        assert follower.next().name == "live"


def test_silence_is_filled_with_heartbeats(start: Callable[..., Way]) -> None:
    way = start(heartbeat=0.2)
    with way.follow() as follower:
        follower.until_live()
        follower.wait_for_heartbeats(3)
        way.publish("after silence")
        assert follower.texts(1) == ["after silence"]


def test_a_slow_follower_is_served_at_its_own_pace_and_holds_up_nobody(start: Callable[..., Way]) -> None:
    way = start(max_messages=10_000, max_bytes=100_000_000)
    count, text = 400, "x" * 20_000
    with way.follow(receive_buffer=4096) as slow, way.follow() as quick:
        slow.until_live()
        quick.until_live()
        for number in range(count):
            way.publish(f"{number} {text}")
            assert quick.texts(1)[0].startswith(f"{number} ")
        assert [slow.next().json["text"].split()[0] for _ in range(count)] == [str(n) for n in range(count)]


def test_a_follower_that_reads_nothing_is_closed(start: Callable[..., Way]) -> None:
    way = start(slow_after=1, heartbeat=1)
    with way.follow(receive_buffer=4096) as dead, way.follow() as alive:
        dead.until_live()
        alive.until_live()
        for number in range(200):
            way.publish(f"{number} {'x' * 20_000}")
            assert alive.texts(1)[0].startswith(f"{number} ")
        ended = 'roomcast_streams_ended_total{reason="slow"}'
        wait_for(lambda: way.running.metric(ended) == 1, "the slow one's end")
        assert way.running.metric("roomcast_followers") == 1


def test_overload_is_an_answer_that_an_eventsource_survives(start: Callable[..., Way]) -> None:
    way = start(max_followers=1)
    with way.follow() as first:
        first.until_live()
        with way.follow() as second:
            assert second.status == 200
            assert second.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert second.next_or_end() is None
            assert second.leftover == [f"retry: {second.retry}"]
            assert second.clean_end
            assert second.retry
            assert 2_000 <= second.retry <= 10_000
    ended = 'roomcast_streams_ended_total{reason="client"}'
    wait_for(lambda: way.running.metric(ended) == 1, "the first one's end")
    with way.follow() as third:
        assert third.next().name == "live"


@pytest.mark.parametrize("start", ["socket 1.1", "socket 1.0", "tls 1.1", "tls 1.0"], indirect=True)
def test_a_stop_ends_every_stream_with_a_retry_delay(start: Callable[..., Way]) -> None:
    way = start()
    followers = [way.follow() for _ in range(20)]
    for follower in followers:
        follower.until_live()
    stored = way.publish("the last")
    way.running.process.send_signal(signal.SIGTERM)
    retries = set()
    for follower in followers:
        assert follower.next().json == stored
        assert follower.next_or_end() is None
        assert follower.clean_end
        assert follower.leftover == [f"retry: {follower.retry}"]
        retries.add(follower.retry)
        follower.cut()
    assert way.running.process.wait(PATIENCE) == 0
    assert len(retries) > 10
    assert all(2_000 <= retry <= 10_000 for retry in retries if retry)


@pytest.mark.parametrize("start", ["socket 1.1", "socket 1.0", "tls 1.1", "tls 1.0"], indirect=True)
def test_a_stop_reaches_a_follower_after_all_bytes_that_wait_for_it(start: Callable[..., Way]) -> None:
    way = start()
    with way.follow(receive_buffer=4096) as slow:
        slow.until_live()
        batch = [{"room": "developers", "text": f"{n} {'x' * 60_000}"} for n in range(15)]
        ids = [message["id"] for message in way.running.post(batch).json()]
        wait_for(lambda: way.running.metric("roomcast_followers_behind") == 1, "the follower to be behind")
        way.running.process.send_signal(signal.SIGTERM)
        heard = []
        while event := slow.next_or_end():
            heard.append(event.id)
        assert heard
        assert heard == ids[: len(heard)]
        assert slow.clean_end
        assert slow.leftover == [f"retry: {slow.retry}"]
    assert way.running.process.wait(PATIENCE) == 0


def test_the_stream_as_lines(way: Way) -> None:
    way.publish("a")
    with way.follow(headers={"Accept": "application/x-ndjson"}) as follower:
        assert follower.headers["content-type"] == "application/x-ndjson"
        lines = [follower.next_row() for _ in range(3)]
        assert [line["event"] for line in lines] == ["retry", "message", "live"]
        assert lines[1]["id"] == lines[1]["data"]["id"] == lines[2]["id"]
        way.publish("b", type="custom")
        line = follower.next_row()
        assert (line["event"], line["data"]["type"]) == ("message", "custom")


def test_no_message_is_lost_or_doubled_at_the_seam(way: Way) -> None:
    """Followers attach while messages are published: each hears every one exactly once."""
    count = 300
    publisher = threading.Thread(target=lambda: [way.publish(str(n)) for n in range(count)])
    publisher.start()
    followers = [way.follow() for _ in range(10)]
    publisher.join()
    for follower in followers:
        seen: list[str] = []
        while len(seen) < count:
            event = follower.next()
            if event.name == "message":
                seen.append(event.json["text"])
        assert seen == [str(n) for n in range(count)]
        follower.cut()
