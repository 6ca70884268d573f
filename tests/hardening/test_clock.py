"""The machine's clock is set back and forward by an hour while messages are published and followed.

libfaketime gives the process a wall clock that the test sets. Monotonic clocks are not changed, just as when a
real clock is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.hardening.load import Load
from tests.hardening.preloaded import environment
from tests.observer import Observer
from tests.running import Running, wait_for

HOUR = 3600
YEAR = 365 * 24 * HOUR
PAGE = {"accept": "application/json"}


class Clock:
    """A server and its wall clock."""

    def __init__(self, serve: Serve, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)
        self._env = {
            "LD_PRELOAD": environment("faketime", "-m", "-f", "+0")["LD_PRELOAD"],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self._serve = serve
        self.server: Running = self.start()

    def start(self, *options: str) -> Running:
        """Starts the server; ends the one that runs, if any, first."""
        if hasattr(self, "server"):
            assert self.server.terminate() == 0
        self.server = self._serve("--heartbeat", "0.5", *options, env=self._env)
        return self.server

    def set(self, seconds: int) -> None:
        """Sets the clock to the machine's time plus `seconds`. The file changes atomically: the server may read
        it at any moment."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)


@pytest.fixture
def clock(serve: Serve, tmp_path: Path) -> Iterator[Clock]:
    clock = Clock(serve, tmp_path)
    yield clock
    clock.server.kill()
    for left in Path("/dev/shm").glob(f"*faketime_*_{clock.server.process.pid}"):
        left.unlink()  # libfaketime 0.9.10 removes it only if its process ends by itself


def published(server: Running, text: str) -> datetime:
    """Publishes `text` and returns the time at which the server says that it stored it."""
    return datetime.fromisoformat(str(server.publish(text)["timestamp"]))


def texts_since(server: Running, since: str) -> list[str]:
    answer = server.get("/messages", params={"room": "developers", "since": since}, headers=PAGE)
    return [message["text"] for message in answer.json()["messages"]]


def test_the_clock_is_ours_to_set(clock: Clock) -> None:
    """Checks the method itself."""
    clock.set(HOUR)
    ahead = published(clock.server, "ahead") - datetime.now(UTC)
    assert timedelta(minutes=59) < ahead < timedelta(minutes=61)


def test_times_never_fall_and_ids_go_on_when_the_clock_is_set_back(clock: Clock) -> None:
    server = clock.server
    times = []
    for seconds in (0, HOUR, 0, -HOUR, 0, 2 * HOUR):
        clock.set(seconds)
        times += [published(server, f"{seconds}"), published(server, f"{seconds} again")]
    assert times == sorted(times)
    # While the clock is behind the newest message, the next ones carry its time.
    assert len(set(times[4:10])) == 1
    assert times[2] - times[1] > timedelta(minutes=59)
    assert times[-1] - times[-3] > timedelta(minutes=59)
    messages = server.get("/messages?room=developers", headers=PAGE).json()["messages"]
    assert [message["id"].split("-")[1] for message in messages] == [str(n) for n in range(1, 13)]


def test_a_clock_that_was_wrong_is_reported_and_a_new_epoch_corrects_its_times(clock: Clock) -> None:
    clock.set(73 * YEAR)
    published(clock.server, "from the future")
    clock.set(0)
    wrong = published(clock.server, "carries its time")
    assert wrong - datetime.now(UTC) > timedelta(days=72 * 365)
    wait_for(lambda: "start the server once with --new-epoch" in clock.server.said(), "the warning")
    server = clock.start("--new-epoch")
    right = published(server, "right")
    assert timedelta(minutes=-1) < right - datetime.now(UTC) < timedelta(minutes=1)
    messages = server.get("/messages?room=developers", headers=PAGE).json()["messages"]
    times = [datetime.fromisoformat(message["timestamp"]) for message in messages]
    assert [message["text"] for message in messages] == ["from the future", "carries its time", "right"]
    assert times == sorted(times)
    assert texts_since(server, right.isoformat()) == ["right"]


def test_since_looks_at_the_times_that_messages_have(clock: Clock) -> None:
    server = clock.server
    clock.set(-HOUR)
    published(server, "an hour ago")
    clock.set(0)
    published(server, "now")
    assert texts_since(server, "10m") == ["now"]
    assert texts_since(server, "2h") == ["an hour ago", "now"]
    clock.set(HOUR)
    assert texts_since(server, "10m") == []
    last = published(server, "in an hour")
    assert texts_since(server, "10m") == ["in an hour"]
    clock.set(0)
    published(server, "behind")
    assert texts_since(server, "10m") == ["now", "in an hour", "behind"]
    assert texts_since(server, last.isoformat()) == ["in an hour", "behind"]


def test_heartbeats_and_streams_go_on_whatever_the_clock_does(clock: Clock) -> None:
    server = clock.server
    with Observer(server.port, "/messages?room=developers") as follower:
        follower.until_live()
        for seconds in (HOUR, -HOUR, 0):
            clock.set(seconds)
            seen = follower.comments
            follower.wait_for_heartbeats(seen + 2)
            server.publish(f"{seconds}")
            assert follower.texts(1) == [f"{seconds}"]
    wait_for(lambda: server.metric("roomcast_followers") == 0, "the end of the stream")
    assert server.metric('roomcast_streams_ended_total{reason="slow"}') == 0


async def test_a_clock_that_jumps_under_way_costs_nothing(clock: Clock) -> None:
    async with Load(clock.server) as load:
        for seconds in (HOUR, -HOUR, 0, 24 * HOUR, 0):
            clock.set(seconds)
            await load.hold(20)
    await load.check_no_hole()
    assert load.record.counts["resumes"] == 0
    rooms = [room["room"] for room in clock.server.get("/rooms").json()["rooms"]]
    messages = clock.server.get("/messages", params={"room": rooms, "limit": 1000}, headers=PAGE).json()[
        "messages"
    ]
    times = [message["timestamp"] for message in messages]
    assert len(times) >= 100
    assert times == sorted(times)
