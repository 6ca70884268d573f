"""Caps that are small, lowered, or reached faster than readers read: each gap is exact, and no publish waits
for the trimming."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from roomcast.torture.reader import Event
from roomcast.torture.record import Record
from roomcast.torture.transcript import Transcript
from tests.conftest import Serve
from tests.observer import Observer
from tests.running import Running, wait_for

ROOMS = ("busy", "quiet")
AT_ONCE = 1.0
"""Seconds that a publish may take on a busy machine; trimming 10,000 messages in one step takes at least as
long."""


class Log:
    """A server, the messages published to it, and the slowest publish in seconds."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.record = Record()
        self.slowest = 0.0
        self._count = 0

    def publish(self, room: str, count: int = 1) -> Sequence[str]:
        """Publishes a batch of `count` messages; returns their ids."""
        texts = [f"text {self._count + n}" for n in range(count)]
        self._count += count
        self.record.attempt(texts, room)
        began = time.monotonic()
        answer = self.server.post([{"room": room, "text": text} for text in texts])
        self.slowest = max(self.slowest, time.monotonic() - began)
        assert answer.status_code == 201, answer.text
        self.record.acknowledge(texts, answer.json())
        return [message["id"] for message in answer.json()]

    def resume(self, last_id: str, *rooms: str) -> Transcript:
        """Resumes after `last_id` until the stream is live, and checks what it heard."""
        heard = Transcript(self.record, f"the follower of {rooms}", rooms, last_id)
        query = "&".join(f"room={room}" for room in rooms)
        with Observer(self.server.port, f"/messages?{query}", headers={"Last-Event-ID": last_id}) as follower:
            listen(heard, follower, self.record.newest(rooms[0]))
        heard.judge()
        assert self.record.violations == []
        return heard


def listen(heard: Transcript, follower: Observer, to: int) -> None:
    """Reads until the stream is live and its position, by messages and gaps, has reached `to`."""
    live = False
    while not live or heard.position < to:
        event = follower.next()
        heard.hear(Event(event.name, event.id, event.json))
        live = live or event.name == "live"


@pytest.mark.parametrize("log", ["memory:", "sqlite:test.db"])
def test_a_batch_larger_than_the_cap_is_refused_and_one_as_large_takes_all(serve: Serve, log: str) -> None:
    server = Log(serve("--log", log, "--max-messages=50"))
    [first] = server.publish("quiet")
    kept = server.publish("busy", 20)
    refused = server.server.post([{"room": "busy", "text": "x"}] * 51)
    assert refused.status_code == 413
    assert server.resume(first, *ROOMS).gaps == []  # the refused batch trimmed nothing
    taken = server.publish("busy", 50)
    wait_for(lambda: server.server.metric("roomcast_log_messages") == 50, "the trimming")
    heard = server.resume(kept[4], *ROOMS)
    [gap] = heard.gaps
    assert (sorted(gap.rooms), gap.at_most) == (["busy"], 15)
    assert list(heard.seqs["busy"]) == [seq(id) for id in taken]
    assert server.resume(first, "quiet").gaps == []
    [gap] = server.resume(first.replace("-1", "-0"), "quiet").gaps
    assert gap.at_most == 1


def test_a_cap_lowered_to_10_over_a_full_log_holds_up_nobody(serve: Serve) -> None:
    server = Log(serve())
    ids = [id for _ in range(10) for id in (*server.publish("busy", 989), *server.publish("quiet", 11))]
    server.server.terminate()
    server.server = serve("--port", str(server.server.port), "--max-messages=10")
    while server.server.metric("roomcast_log_messages") > 10:
        server.publish("busy")
        for room in ROOMS:
            server.resume(ids[-20], room)
    assert server.slowest < AT_ONCE
    [gap] = server.resume(ids[-20], "busy").gaps
    lost = len(server.record.known("busy", seq(ids[-20]), gap.before - 1))
    assert gap.at_most is not None
    assert 8 <= lost <= gap.at_most <= lost + 11  # the 11 are those of the quiet room
    assert server.resume(ids[0], *ROOMS).gaps[0].rooms == set(ROOMS)
    assert server.resume(server.publish("busy")[0], *ROOMS).gaps == []


def test_a_reader_that_is_slower_than_the_trimming_is_told_an_exact_gap(serve: Serve) -> None:
    server = Log(serve("--max-messages=100"))
    [first] = server.publish("quiet")
    for rooms in (("busy",), ROOMS):
        heard = Transcript(server.record, f"the follower of {rooms}", rooms, server.publish("quiet")[0])
        query = "&".join(f"room={room}" for room in rooms)
        resumed = {"Last-Event-ID": heard.last_id}
        target = f"/messages?{query}"
        with Observer(server.server.port, target, headers=resumed, receive_buffer=4096) as slow:
            for turn in range(200):
                server.publish("quiet" if turn % 40 == 20 else "busy", 30)
            listen(heard, slow, server.record.newest("busy"))
        heard.judge()
        assert heard.gaps
        assert heard.gaps[-1].before > 3_000  # the server waited for it at first, and then sent what was left
        assert all(len(heard.seqs[room]) > 0 for room in rooms)
    assert server.record.violations == []
    assert server.slowest < AT_ONCE
    assert server.resume(first, *ROOMS).gaps[0].rooms == set(ROOMS)


def seq(id: str) -> int:
    return int(id.rpartition("-")[2])
