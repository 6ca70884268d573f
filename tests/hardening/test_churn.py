"""Followers that come, go and resume while the log trims fast: each loss is reported as a gap, and nothing else
is."""

from __future__ import annotations

import asyncio
import signal

from roomcast.torture.attack import Attack, Plan
from roomcast.torture.target import Target
from tests.conftest import Serve
from tests.observer import Observer
from tests.raw import Raw, request
from tests.running import wait_for


async def test_500_that_come_and_go_while_the_log_trims_hear_exact_gaps(serve: Serve) -> None:
    """Followers of busy rooms lose messages. Followers of the quiet room lose none: a server that looked at the
    trimming of the whole log instead of the room would report false gaps to them."""
    server = serve("--max-messages=30", "--no-access-log")
    attack = Attack(Target.parse(server.url), Plan(seconds=60, followers=500, rooms=12, pause=0.04, life=2))
    running = asyncio.create_task(attack.run())
    while not running.done() and attack.record.counts["gaps"] < 200:
        await asyncio.wait({running}, timeout=0.05)
    attack.stop()
    await running
    assert attack.record.violations == [], (attack.plan, attack.record.violations)
    assert attack.record.counts["gaps"] > 20
    transcripts = [follower.transcript for follower in attack.followers]
    in_quiet = [one for one in transcripts if len(one.rooms) == 1 and one.rooms[0].endswith("-11")]
    assert any(one.seqs[one.rooms[0]] for one in in_quiet)


def test_the_log_is_not_read_for_followers_that_have_left(serve: Serve) -> None:
    """Each resumes from another id, older than the window in memory, and leaves before its turn to read the
    log."""
    count = 500
    server = serve("--max-messages=10", "--no-access-log")
    first = str(server.publish("x")["id"])
    for _ in range(count // 10 + 2):
        assert server.post([{"room": "developers", "text": "x"}] * 10).status_code == 201
    wait_for(lambda: server.metric("roomcast_log_messages") == 10, "the log to be trimmed")
    epoch = first.split("-")[0]
    server.process.send_signal(signal.SIGSTOP)
    for seq in range(1, count + 1):
        with Raw(server.port, request("GET", "/messages?room=developers", f"Last-Event-ID: {epoch}-{seq}")):
            pass
    server.process.send_signal(signal.SIGCONT)
    with Observer(server.port, "/messages?room=developers", headers={"Last-Event-ID": first}) as follower:
        assert [event.name for event in follower.until_live()] == ["gap", *["message"] * 10, "live"]
    wait_for(lambda: server.metric("roomcast_streams_opened_total") == count + 1, "all streams to be opened")
    assert server.metric("roomcast_log_reads_total") < count / 5
