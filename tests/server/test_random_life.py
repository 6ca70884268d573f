"""Followers that come, dawdle, are cut and resume at random, beside publishers and fast trimming. Whatever
happens, each hears every message of its rooms once and in order, or of a gap that covers just what it missed.

Its pauses are part of the attack; nothing waits for a time. To play a failure again, set the variable
ROOMCAST_TEST_LIFE_SEED to the seed it printed; ROOMCAST_TEST_LIFE_SECONDS is for a longer life."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random, randrange
from typing import Any, NamedTuple

import pytest

from tests.running import PATIENCE, Running

SECONDS = float(os.environ.get("ROOMCAST_TEST_LIFE_SECONDS", "2"))
FOLLOWERS = 100
PUBLISHERS = 4
TRIMMED_FAST = 400
"""A log that retains no more than this trims so fast that some follower misses something."""
ROOMS = ["a", "b", "c", "quiet"]
_SERVE = """
import sys
from roomcast.cli.main import main
from roomcast.delivery.hub import Hub
Hub.__init__.__defaults__ = (int(sys.argv.pop(1)),)
main()
"""


class Event(NamedTuple):
    """A dispatched event."""

    name: str
    id: str
    data: Any

    @property
    def seq(self) -> int:
        return seq_of(self.id)


class Told(NamedTuple):
    """A gap that a follower was told of, and what it may name."""

    after: int
    before: int
    """It names what was lost between these two."""
    trimmed_at_most: int
    """The messages that the server can have trimmed by then."""
    rooms: set[str]
    lost_at_most: int


class Truth:
    """The stored messages, as their publishers were told."""

    def __init__(self, retained: int) -> None:
        self.seqs: dict[str, list[int]] = {room: [] for room in ROOMS}
        self.room_of: dict[int, str] = {}
        self.on_their_way = 0
        self._retained = retained
        self._newest = 0

    def add(self, messages: Sequence[dict[str, Any]]) -> None:
        for message in messages:
            seq = seq_of(message["id"])
            insort(self.seqs[message["room"]], seq)
            self.room_of[seq] = message["room"]
            self._newest = max(self._newest, seq)

    def newest_of(self, rooms: Sequence[str]) -> int:
        return max((self.seqs[room][-1] for room in rooms if self.seqs[room]), default=0)

    @property
    def trimmed_at_most(self) -> int:
        return self._newest + self.on_their_way - self._retained


class Life:
    """One follower over all its connections, and what it was told."""

    def __init__(self, truth: Truth, random: Random) -> None:
        self.truth = truth
        self.random = random
        self.rooms = random.sample(ROOMS, random.choice([1, 1, 2, 4]))
        self.replay = random.choice(["all", "none", "7"])
        self.dawdles = random.random() < 0.3
        self.last_id = ""
        self.heard: list[int] = []
        self.gaps: list[Told] = []
        self._begin = -1
        """It must hear of everything after this position."""

    def note(self, event: Event) -> None:
        """Takes an event; ids only ever rise."""
        self.last_id = event.id
        reached = self.heard[-1] if self.heard else 0
        if event.name == "message":
            assert event.seq > reached
            self.heard.append(event.seq)
            self._began(event.seq - 1)
            return
        assert event.seq >= reached
        if event.name == "gap":
            self._note_gap(event)
        self._began(event.seq)

    def _note_gap(self, event: Event) -> None:
        data = event.data
        after, before = seq_of(data["after"]), seq_of(data["resumes_at"] or f"-{event.seq + 1}")
        assert (data["reason"], event.seq) == ("trimmed", before - 1)
        assert after <= event.seq  # of several rooms, those that lost something may be whole up to long before
        told = Told(after, before, self.truth.trimmed_at_most, set(data["rooms"]), data["lost_at_most"])
        self.gaps.append(told)

    def _began(self, position: int) -> None:
        if self._begin < 0:
            self._begin = position

    def check(self) -> None:
        """Nothing is missing but what a gap covers, and no gap is told without a loss."""
        missing = self._missing()
        for gap in self.gaps:
            lost = [seq for seq in missing if gap.after < seq < gap.before]
            if self._begin <= gap.after and gap.before <= self.heard[-1]:
                assert {self.truth.room_of[seq] for seq in lost} == gap.rooms, gap
            assert len(lost) <= gap.lost_at_most
            assert max(lost, default=0) <= max(gap.trimmed_at_most, 0), "retained, and not served"
            missing.difference_update(lost)
        assert not missing, f"lost in silence; gaps: {self.gaps}"

    def _missing(self) -> set[int]:
        if not self.heard:
            return set()
        stored: set[int] = set()
        for room in self.rooms:
            seqs = self.truth.seqs[room]
            stored.update(seqs[bisect_right(seqs, self._begin) : bisect_left(seqs, self.heard[-1])])
        return stored.difference(self.heard)


async def live(life: Life, port: int, stop: asyncio.Event) -> None:
    """Connects and is cut again and again; the last connection goes on until all was heard."""
    while not stop.is_set():
        connected = asyncio.create_task(hear(life, port, life.random.choice([1, 3, 20, 200, 1_000])))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({connected, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if stop.is_set():
            connected.cancel()
        with suppress(asyncio.CancelledError):
            await connected
        await asyncio.sleep(life.random.choice([0, 0, 0.01, 0.3]))
    life.dawdles = False
    async with asyncio.timeout(PATIENCE):
        await hear(life, port, None)


async def hear(life: Life, port: int, count: int | None) -> None:
    """Follows for so many events, or until everything stored was heard."""
    version = life.random.choice(["1.0", "1.1"])
    reader, writer = await connect(port, 4096 if life.dawdles else None)
    try:
        writer.write(request(life, version).encode())
        async for event in events(reader, chunked=version == "1.1"):
            life.note(event)
            if count is None and event.seq >= life.truth.newest_of(life.rooms):
                return
            if count is not None and (count := count - 1) == 0:
                return
            if life.dawdles:
                await asyncio.sleep(life.random.choice([0, 0.001, 0.005]))
    finally:
        writer.transport.abort()


def request(life: Life, version: str) -> str:
    rooms = "&".join(f"room={room}" for room in life.rooms)
    resume = f"Last-Event-ID: {life.last_id}\r\n" if life.last_id else ""
    return f"GET /messages?{rooms}&replay={life.replay} HTTP/{version}\r\nHost: localhost\r\n{resume}\r\n"


async def connect(
    port: int, receive_buffer: int | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


async def events(reader: asyncio.StreamReader, *, chunked: bool) -> AsyncIterator[Event]:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    assert (b"transfer-encoding: chunked" in head.lower()) == chunked
    rest, fields = b"", dict[str, str]()
    while data := await (chunk(reader) if chunked else reader.read(65_536)):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line:
                name, _, fields[name] = line.decode().partition(": ")
            else:
                yield Event(fields.get("event", "message"), fields["id"], json.loads(fields["data"]))
                fields = {}
    raise AssertionError("the server ended a stream")


async def chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]


async def publish(truth: Truth, port: int, random: Random, stop: asyncio.Event) -> None:
    reader, writer = await connect(port)
    while not stop.is_set():
        batch = [draft(random) for _ in range(random.choice([1, 1, 1, 2, 20]))]
        body = json.dumps(batch).encode()
        head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        truth.on_their_way += len(batch)
        writer.write(b"POST /messages HTTP/1.1\r\n" + head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 201 "), answer
        length = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        truth.add(json.loads(await reader.readexactly(int(length))))
        truth.on_their_way -= len(batch)
        await asyncio.sleep(random.choice([0, 0.002, 0.02]))
    writer.close()
    await writer.wait_closed()


def draft(random: Random) -> dict[str, str]:
    room = random.choice(ROOMS[:-1] * 30 + ROOMS)
    return {"room": room, "text": "x" * random.choice([10, 10, 300, 5_000])}


def seq_of(id: str) -> int:
    return int(id.rpartition("-")[2])


async def lives(port: int, retained: int, seed: int) -> list[Life]:
    """All of them, to their ends."""
    random, truth = Random(seed), Truth(retained)
    published, stop = asyncio.Event(), asyncio.Event()
    crowd = [Life(truth, Random(random.random())) for _ in range(FOLLOWERS)]
    async with asyncio.TaskGroup() as group:
        publishers = [
            group.create_task(publish(truth, port, Random(random.random()), published)) for _ in range(PUBLISHERS)
        ]
        for life in crowd:
            group.create_task(live(life, port, stop))
        await asyncio.sleep(SECONDS)
        if retained <= TRIMMED_FAST:  # a busy machine takes longer to get so far
            async with asyncio.timeout(PATIENCE):
                while not any(life.gaps for life in crowd):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        published.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait(publishers)
        stop.set()
    return crowd


def start(folder: Path, retained: int, window: int) -> Running:
    options = ["--port=0", "--page-port=0", "--log=sqlite:test.db", "--max-bytes=100000000", "--no-access-log"]
    command = [sys.executable, "-c", _SERVE, str(window), "serve", *options, f"--max-messages={retained}"]
    running = Running(command, folder)
    running.port = int(running.wait_until_it_says(r"follow +http://\S+?:(\d+)/messages[^\n]*\n +look +.+\n")[1])
    return running


@pytest.mark.parametrize(("retained", "window"), [(50, 16_000_000), (400, 60_000), (2_000, 60_000)])
async def test_every_follower_gets_each_message_once_or_is_told_a_gap(
    tmp_path: Path, retained: int, window: int
) -> None:
    seed = int(os.environ.get("ROOMCAST_TEST_LIFE_SEED", randrange(2**32)))
    print(f"ROOMCAST_TEST_LIFE_SEED={seed}")
    running = await asyncio.to_thread(start, tmp_path, retained, window)
    try:
        crowd = await lives(running.port, retained, seed)
    finally:
        running.end()
    for life in crowd:
        life.check()
    assert any(life.heard for life in crowd)
    assert any(life.gaps for life in crowd) or retained > TRIMMED_FAST
    assert "Traceback" not in running.said()
    print(f"{sum(len(life.heard) for life in crowd)} heard, {sum(len(life.gaps) for life in crowd)} gaps")
