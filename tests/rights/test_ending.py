"""Streams end with their rights: in time, with the reason, and so that a new right continues without a loss."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from roomcast.auth.guard import Guard, Mode
from roomcast.auth.keys import Keys
from roomcast.auth.rights import ConfiguredRights
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening, PendingGap
from roomcast.delivery.tenure import REPLACEMENTS, HeldStream, Holder, Tenures
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.http.handler import Handler
from roomcast.model.message import Draft
from roomcast.model.settings import Settings
from tests.delivery.fakes import FakeConnection, follow, until
from tests.observer import Observer
from tests.rights.serving import ALL, KEYS, NDJSON, SECRETS, SSE, Way, bearer, get, publish, ticket

STREAMS = 5_000


def _ending(seconds: float) -> str:
    """A ticket that expires in `seconds` seconds, leeway included."""
    return ticket("user/33", age=100, seconds=100 - 30 + seconds)


@pytest.mark.parametrize("accept", [SSE, NDJSON])
def test_33_a_stream_ends_with_its_ticket_and_its_reconnect_is_refused(way: Way, accept: str) -> None:
    sent, began = _ending(2), time.monotonic()
    target = f"/messages?room=user/33&replay=none&ticket={sent}"
    resume = "Last-Event-ID: x-1"  # a reconnect: this ticket may no longer open a stream
    with way.open(get(target, accept, resume)) as stream:
        told = stream.until(b"live")
        stored = way.ask(publish({"room": "user/33", "text": "before"}, bearer(ALL))).json["id"]
        told += stream.rest()
    assert 1 < time.monotonic() - began < 12
    text = re.sub(rb"\r\n[0-9a-f]+\r\n|^[0-9a-f]+\r\n|\r\n", b"", told).decode()
    assert "before" in text
    if accept == SSE:
        end = re.search(r"id: (\S+)\nevent: roomcast.end\ndata: (\{.*?\})\n\nretry: (\d+)\n", text)
        assert end, text
        id, data, retry = end[1], json.loads(end[2]), int(end[3])
    else:
        rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        assert [row["event"] for row in rows[-2:]] == ["end", "retry"]
        id, data, retry = rows[-2]["id"], rows[-2]["data"], rows[-1]["data"]
    assert (id, data) == (stored, {"reason": "expired"})
    assert 500 <= retry <= 5_000
    assert way.ask(get(target, accept, resume)).status == 401
    way.ask(publish({"room": "user/33", "text": "after"}, bearer(ALL)))
    renewed = f"/messages?room=user/33&ticket={ticket('user/33')}&last_event_id={id}"
    with way.open(get(renewed, SSE)) as stream:
        told = stream.until(b"event: live")
        assert (b"after" in told, b"before" in told) == (True, False)
    metrics = way.ask(get("/metrics", bearer(ALL))).body.decode()
    assert re.search(r'roomcast_streams_ended_total\{reason="expired"\} [1-9]', metrics)


def test_a_ticket_in_a_url_has_one_stream_and_a_limit_of_replacements(way: Way) -> None:
    if way.name == "h11":
        pytest.skip("the same engine as the fast path's")
    sent = ticket("user/34")
    target = f"/messages?room=user/34&replay=none&ticket={sent}"
    older = Observer(way.port, target)
    older.until_live()
    other = Observer(way.port, "/messages?room=user/34&replay=none", headers={"Authorization": f"Bearer {sent}"})
    other.until_live()
    for _ in range(REPLACEMENTS + 1):
        newer = Observer(way.port, target)
        newer.until_live()
        end = older.next()
        assert (end.name, end.json) == ("roomcast.end", {"reason": "replaced"})
        assert older.next_or_end() is None
        assert older.retry is not None
        assert older.clean_end or way.name == "asgi"
        older.cut()
        older = newer
    for _ in range(2):
        refused = way.ask(get(target, SSE))
        assert (refused.status, refused.json["detail"]) == (401, "not valid")
    assert way.ask(get(target, SSE, "Last-Event-ID: x-1")).status == 401
    stored = way.ask(publish({"room": "user/34", "text": "x"}, bearer(ALL))).json["id"]
    assert older.next().id == stored, "the one that it has goes on"
    assert other.next().id == stored, "a bearer's stream replaces none, and is replaced by none"
    older.cut()
    other.cut()


def test_a_head_request_replaces_no_stream(way: Way) -> None:
    target = f"/messages?room=user/35&replay=none&ticket={ticket('user/35')}"
    with Observer(way.port, target) as stream:
        stream.until_live()
        for _ in range(3):
            assert way.ask(get(target, SSE).replace(b"GET", b"HEAD"), to_head=True).status == 200
        stored = way.ask(publish({"room": "user/35", "text": "x"}, bearer(ALL))).json["id"]
        assert stream.next().id == stored


class Client:
    """The transport of a client that reads everything at once. It poses as TLS, since it has no socket to write
    to."""

    def __init__(self) -> None:
        self.told = b""
        self.protocol: asyncio.BaseProtocol | None = None
        self.ended_at = 0.0

    def get_extra_info(self, name: str) -> object:
        return name == "sslcontext" or None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.told += data

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.ended_at = self.ended_at or time.monotonic()

    abort = close


async def test_35_five_thousand_streams_that_expire_together_end_within_five_seconds() -> None:
    engine = await Engine.open(Settings(log="memory:", heartbeat=15))
    keys = Keys([replace(key, streams=0) for key in KEYS])  # any number: these are all of one ticket
    context = Context(Handler(engine, Guard(Mode.RIGHTS, ConfiguredRights(keys=keys, secrets=SECRETS))), engine)
    try:
        await engine.log.append([Draft("user/42", None, b'{"room":"user/42","text":"x"}')])
        await engine.tail.reached(1)
        timers = len(asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]
        staying = _follow(context, get("/messages?room=user/42", bearer(ALL)))
        sent = ticket("user/42", age=100, seconds=100 - 30 + 4)
        until = int(time.time()) + 5
        leaving = [_follow(context, get("/messages?room=user/42", bearer(sent))) for _ in range(STREAMS)]
        assert len(asyncio.get_running_loop()._scheduled) < timers + 10, "a timer each"  # type: ignore[attr-defined]
        assert len(engine.streams.active) == STREAMS + 1
        longest, seen = 0.0, time.monotonic()
        while len(engine.streams.active) > 1:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            longest, seen = max(longest, now - seen - 0.005), now
            assert time.time() < until + 5 + 10, "they have not ended"
        assert time.time() - until < 5
        assert longest < 0.5, "the others had to wait"
        assert not engine.streams.tenures._by_second
        retries = [int(re.findall(rb"retry: (\d+)", client.told)[-1]) for client in leaving]
        assert all(500 <= retry <= 5_000 for retry in retries)
        assert len(set(retries)) > 1_000, "they would come back at once"
        assert all(b"roomcast.end" in client.told for client in leaving)
        assert not staying.ended_at
        assert engine.streams.endings["expired"] == STREAMS
    finally:
        await engine.drain()
        await engine.close()


def _follow(context: Context, data: bytes) -> Client:
    connection, client = FastPath(context), Client()
    connection.connection_made(cast(asyncio.Transport, client))
    connection.data_received(data)
    return client


async def test_a_pending_gap_is_told_before_the_end() -> None:
    """Otherwise its client would resume after the gap and never be told of it."""
    engine = await Engine.open(Settings(log="memory:"))
    try:
        connection = FakeConnection(full_after=1)
        connection.writable = False
        gap = PendingGap("x-1", ["a"], None, "epoch")
        stream = follow(engine.streams, connection, Opening(0, gap), head=b"head")
        stream.withdraw("expired")
        [told] = connection.told("gap")
        assert told["after"] == "x-1"
        assert connection.heard.index(b"event: gap") < connection.heard.index(b"event: roomcast.end")
        assert connection.ids("gap") == connection.ids("roomcast.end")
        assert engine.streams.gaps == {"epoch": 1}
    finally:
        await engine.close()


# By themselves


class Someone:
    """A holder."""

    def __init__(self, until: float | None = None, ticket_nonce: str = "") -> None:
        self.until, self.ticket_nonce = until, ticket_nonce


class One:
    """A stream."""

    def __init__(self, tenures: Tenures, holder: Holder | None) -> None:
        self.holder, self.ended, self._tenures = holder, "", tenures

    def withdraw(self, reason: str) -> None:
        self.ended = reason
        self._tenures.leave(self)


def _entered(tenures: Tenures, holders: Sequence[Holder | None], *, replaces: bool = False) -> list[One]:
    streams = [One(tenures, holder) for holder in holders]
    for stream in streams:
        tenures.enter(stream, replaces=replaces, now=0)
    return streams


def test_streams_end_when_their_second_has_passed_and_not_before() -> None:
    tenures = Tenures()
    early, fraction, late, never, nobody = _entered(
        tenures, [Someone(10), Someone(10.2), Someone(12), Someone(), None]
    )
    assert list(tenures.ended(9.99)) == []
    assert list(tenures.ended(10)) == [early]
    assert list(tenures.ended(10.5)) == []
    assert list(tenures.ended(11)) == [fraction]
    tenures.leave(never)
    tenures.leave(nobody)
    tenures.leave(late)
    assert list(tenures.ended(100)) == []


def test_a_closed_stream_is_neither_ended_nor_replaced() -> None:
    tenures, holder = Tenures(), Someone(10, "a")
    [first] = _entered(tenures, [holder], replaces=True)
    tenures.leave(first)
    [second] = _entered(tenures, [holder], replaces=True)
    assert (first.ended, second.ended) == ("", "")
    assert not tenures.refuses("a")


def test_replacements_are_forgotten_after_a_minute() -> None:
    tenures, holder = Tenures(), Someone(ticket_nonce="a")
    for n in range(100):
        tenures.enter(cast(HeldStream, One(tenures, holder)), replaces=True, now=n * 6.0)
    assert not tenures.refuses("a")
    for _ in range(REPLACEMENTS + 1):
        tenures.enter(cast(HeldStream, One(tenures, holder)), replaces=True, now=600.0)
    assert tenures.refuses("a")


def test_the_counts_of_tickets_are_bounded() -> None:
    tenures = Tenures()
    for n in range(20_000):
        for _ in "ab":
            tenures.enter(cast(HeldStream, One(tenures, Someone(ticket_nonce=str(n)))), replaces=True, now=0.0)
    assert len(tenures._replaced) <= 10_000


async def test_a_stream_that_fails_to_end_does_not_keep_others_from_ending(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = await Engine.open(Settings(log="memory:"))
    try:
        tenures = engine.streams.tenures
        [broken, *others] = _entered(tenures, [Someone(time.time() - 1)] * 3)
        broken.withdraw = lambda reason: 1 / 0  # type: ignore[method-assign, assignment]
        await until(lambda: all(stream.ended for stream in others))
        assert "could not be ended" in caplog.text
    finally:
        await engine.close()
