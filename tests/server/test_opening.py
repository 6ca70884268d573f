"""Requests that are still finding their start, or whose host takes its time over the head: the application is
called as a host calls it, and the log or the host is held at that moment."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

import roomcast
from roomcast.embed import Embedded
from roomcast.log.base import Batch, Bounds
from roomcast.log.consumers import Consumer
from roomcast.log.memory import MemoryLog
from roomcast.model.rooms import Selection
from tests.running import PATIENCE
from tests.server.test_mounted import Call

RETAINED = 5
SENT_AWAY = rb"retry: \d{4,5}\n"
NDJSON = [(b"accept", b"application/x-ndjson")]


@pytest.fixture
async def live() -> AsyncIterator[Embedded]:
    async with roomcast.app(log="memory:", max_messages=RETAINED) as live:
        yield live


class Held:
    """Something that waits until it is let go."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self.let_go = asyncio.Event()

    async def wait(self) -> None:
        self._reached.set()
        await self.let_go.wait()

    async def reached(self) -> None:
        """Returns when somebody waits here."""
        async with asyncio.timeout(PATIENCE):
            await self._reached.wait()


class Asking(Call):
    """A request that is over, or fails its test."""

    async def over(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.task


class HeldCall(Asking):
    """A host that takes its time over the head of its answer."""

    def __init__(self, app: Embedded, target: str, **scope: Any) -> None:
        self.head = Held()
        super().__init__(app, target, headers=NDJSON, **scope)

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            await self.head.wait()
        await super()._send(message)

    def events(self, name: str) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in self.body.splitlines() if line]
        return [event for event in events if event["event"] == name]


@pytest.fixture
def seeking(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Delays each look-up of a time in the log."""
    held = Held()
    seek = MemoryLog.seek_time

    async def seek_later(self: MemoryLog, rooms: Selection, since: int) -> int:
        start = await seek(self, rooms, since)
        await held.wait()
        return start

    monkeypatch.setattr(MemoryLog, "seek_time", seek_later)
    return held


async def publish(live: Embedded, count: int) -> list[str]:
    return [(await live.publish("orders", text=str(number)))["id"] for number in range(count)]


async def begin_anew(live: Embedded) -> None:
    """Acts as if the log had another history than before."""
    engine = await live._engine()
    assert isinstance(engine.log, MemoryLog)
    engine.log.epoch = "another"
    bounds = await engine.log.bounds()
    engine.hub.restart("another", bounds.newest, bounds.trimmed)


# Drained


async def test_a_stream_that_finds_its_start_when_the_drain_begins_is_sent_away(
    live: Embedded, seeking: Held
) -> None:
    await publish(live, 1)
    call = Asking(live, "/messages?room=orders&since=1h")
    await seeking.reached()
    await live.drain()
    seeking.let_go.set()
    await call.over()
    assert re.fullmatch(SENT_AWAY, call.body)
    assert call.ended


async def test_a_stream_whose_head_is_on_its_way_when_the_drain_begins_is_sent_away(live: Embedded) -> None:
    call = HeldCall(live, "/messages?room=orders")
    await call.head.reached()
    await live.drain()
    call.head.let_go.set()
    await call.over()
    assert [event["event"] for event in map(json.loads, call.body.splitlines())][-1] == "retry"
    assert call.ended


# Restarted


async def test_a_start_found_before_a_new_epoch_of_the_log_is_not_used_after_it(
    live: Embedded, seeking: Held
) -> None:
    await publish(live, 3)
    call = Asking(live, "/messages?room=orders&since=1h")
    await seeking.reached()
    await begin_anew(live)
    seeking.let_go.set()
    await call.over()
    assert re.fullmatch(SENT_AWAY, call.body)


async def test_a_page_whose_start_was_found_before_a_new_epoch_of_the_log_is_refused(
    live: Embedded, seeking: Held
) -> None:
    await publish(live, 3)
    call = Asking(live, "/messages?room=orders&since=1h", headers=[(b"accept", b"application/json")])
    await seeking.reached()
    await begin_anew(live)
    seeking.let_go.set()
    await call.over()
    assert json.loads(call.body)["status"] == 503


# Trimmed


async def opened(live: Embedded, asking: str) -> HeldCall:
    """A stream over a log that trims all of what it held when the stream found its start."""
    call = HeldCall(live, f"/messages?room=orders&{asking}")
    await call.head.reached()
    await publish(live, 10)
    call.head.let_go.set()
    await call.until(lambda: call.events("live"))
    return call


async def test_a_resume_is_told_of_what_is_trimmed_while_it_opens(live: Embedded) -> None:
    first, *_ = await publish(live, RETAINED)
    call = await opened(live, f"last_event_id={first}")
    [gap] = call.events("gap")
    assert (gap["data"]["after"], gap["data"]["reason"]) == (first, "trimmed")
    assert gap["data"]["lost_at_most"] + len(call.events("message")) == RETAINED - 1 + 10
    call.task.cancel()


@pytest.mark.parametrize("asking", ["since=1h", "replay=5"])
async def test_a_start_in_the_log_is_told_of_what_is_trimmed_after_it_was_found(
    live: Embedded, asking: str
) -> None:
    await publish(live, RETAINED)
    call = await opened(live, asking)
    [gap] = call.events("gap")
    assert gap["data"]["lost_at_most"] + len(call.events("message")) == RETAINED + 10
    call.task.cancel()


async def test_a_since_adds_what_is_trimmed_while_it_opens_to_what_was_trimmed_before(live: Embedded) -> None:
    await publish(live, RETAINED + 4)
    call = await opened(live, "since=1h")
    [gap] = call.events("gap")
    assert gap["data"]["after"] is None
    assert gap["data"]["lost_at_most"] + len(call.events("message")) == RETAINED + 4 + 10
    call.task.cancel()


async def test_a_replay_of_all_reports_no_gap_for_messages_that_were_never_promised(live: Embedded) -> None:
    await publish(live, RETAINED)
    call = await opened(live, "replay=all")
    assert call.events("gap") == []
    call.task.cancel()


@pytest.mark.parametrize(
    ("id", "reason"), [("nonsense", "malformed"), ("other-1", "epoch"), ("{epoch}-999", "future")]
)
async def test_an_unknown_id_is_one_gap_whatever_is_trimmed_while_the_stream_opens(
    live: Embedded, id: str, reason: str
) -> None:
    epoch = (await publish(live, RETAINED))[0].partition("-")[0]
    id = id.format(epoch=epoch)
    call = await opened(live, f"last_event_id={id}")
    [gap] = call.events("gap")
    assert gap["data"] == {
        "after": id,
        "resumes_at": call.events("message")[0]["id"],
        "rooms": ["orders"],
        "lost_at_most": None,
        "reason": reason,
    }
    call.task.cancel()


# Not in memory


async def test_the_newest_messages_are_found_in_the_log_if_the_window_is_short(live: Embedded) -> None:
    ids = await publish(live, RETAINED)
    engine = await live._engine()
    await engine.tail.reached(RETAINED)
    engine.hub.restart(engine.hub.epoch, RETAINED, 0)
    call = await Asking(live, "/messages?room=orders&replay=2").live()
    assert re.findall(rb"id: (.*)\ndata", call.body) == [id.encode() for id in ids[-2:]]
    assert b"event: gap" not in call.body
    call.task.cancel()


async def test_a_follower_of_a_log_that_was_never_reached_is_sent_away(live: Embedded) -> None:
    (await live._engine()).hub.epoch = ""
    call = Asking(live)
    await call.over()
    assert re.fullmatch(SENT_AWAY, call.body)


# Not delivered yet


async def test_a_publisher_may_resume_with_its_own_newest_id_before_the_tail_has_it(
    live: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail, asked = Held(), asyncio.Event()
    following, bounds = Consumer.__anext__, MemoryLog.bounds

    async def bring_later(self: Consumer) -> Batch:
        batch = await following(self)
        await tail.wait()
        return batch

    async def bounds_noted(self: MemoryLog) -> Bounds:
        asked.set()
        return await bounds(self)

    await publish(live, 1)
    monkeypatch.setattr(Consumer, "__anext__", bring_later)
    engine = await live._engine()
    await publish(live, 1)  # the last that comes by the old way
    await engine.tail.reached(2)
    [newest] = await publish(live, 1)
    await tail.reached()
    monkeypatch.setattr(MemoryLog, "bounds", bounds_noted)
    call = Asking(live, f"/messages?room=orders&last_event_id={newest}")
    noted = asyncio.create_task(asked.wait())
    await asyncio.wait({noted, call.task}, return_when=asyncio.FIRST_COMPLETED)
    tail.let_go.set()
    await call.live()
    assert b"event: gap" not in call.body
    assert f"id: {newest}\nevent: live\n".encode() in call.body
    call.task.cancel()
