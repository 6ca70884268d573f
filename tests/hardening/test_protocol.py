"""Hundreds of connections at once that speak HTTP badly, beside a follower that must not notice them.

tests/server/test_http.py checks the answer to each. This module checks the process: its memory, files and tasks,
during the attack and after it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from tests.hardening.process import open_files, resident_bytes, waited_seconds
from tests.hardening.tasks import TELLING, tasks_of
from tests.observer import Observer
from tests.raw import JSON, post, request
from tests.running import PATIENCE, Running, start_roomcast, wait_for

BODY = b'{"room":"a","text":"x"}'
FOLLOW = request("GET", "/messages?room=a&replay=none")
CHUNKED = request("POST", "/messages", JSON, "Transfer-Encoding: chunked")
GET_CHUNKED = request("GET", "/messages?room=a&replay=none", "Transfer-Encoding: chunked")
MEGABYTE = b"x" * 1_000_000
ENOUGH = 2.0
"""Seconds after which the impatient server has ended every slow request."""

_IMPATIENT = """
from roomcast.http import context
context.HEAD_SECONDS = context.BODY_SECONDS = context.LINGER_SECONDS = 1.0
context.LOOK_SECONDS = 0.1
"""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that gives each request one second."""
    yield from _started(tmp_path_factory.mktemp("impatient"), _IMPATIENT)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with its own time limits, for requests that it must answer: on a busy machine, hundreds of clients
    may need more than a second for whole requests, too."""
    yield from _started(tmp_path_factory.mktemp("patient"), "")


def _started(folder: Path, changes: str) -> Iterator[Running]:
    """Runs a server that reports how many tasks it has."""
    running = start_roomcast(folder, "--no-access-log", program=("-c", changes + TELLING))
    yield running
    said = running.said()
    assert "Traceback" not in said, said[said.index("Traceback") :][:3000]
    running.kill()


class Healthy:
    """A follower and a publisher that behave well, and measure how long a message takes. The time for which the
    server and this process waited for a free processor is not counted: that is the machine's, and none on an idle
    one."""

    def __init__(self, server: Running) -> None:
        self.delays: list[float] = []
        self.peak = 0
        """The largest memory of the server meanwhile, in bytes."""
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Healthy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with Observer(self._server.port, "/messages?room=healthy&replay=none") as follower:
            follower.until_live()
            while not self._over.is_set() or len(self.delays) < 10:
                began = self._now()
                stored = self._server.publish("still here?", "healthy")
                assert follower.next().json == stored
                self.delays.append(self._now() - began)
                self.peak = max(self.peak, resident_bytes(self._server.process.pid))
                self._over.wait(0.02)

    def _now(self) -> float:
        waited = waited_seconds(self._server.process.pid) + waited_seconds(os.getpid())
        return time.monotonic() - waited

    def check(self) -> None:
        assert max(self.delays) < 2, sorted(self.delays)[-5:]
        assert statistics.median(self.delays) < 0.2


class Client:
    """One of hundreds of attacking connections."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, random: Random) -> None:
        self.reader = reader
        self.writer = writer
        self.random = random

    async def send(self, data: bytes) -> bool:
        """Sends `data`; false if the server has ended the connection."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()
            return True
        return False

    async def end(self) -> bytes:
        """Reads until the server ends the connection; returns the last 10,000 bytes."""
        said = b""
        with suppress(ConnectionError):
            while data := await self.reader.read(65536):
                said = (said + data)[-10_000:]
        return said


Attack = Callable[[Client], Awaitable[None]]


async def half_a_request(client: Client) -> None:
    whole = client.random.choice([post(BODY), FOLLOW, CHUNKED + b"5\r\n"])
    half = whole[: client.random.randrange(len(whole) - 1)]
    await client.send(half)
    assert (await client.end())[:13] in (b"", b"HTTP/1.1 408 ")


async def a_head_byte_by_byte(client: Client) -> None:
    """Slowloris: a request that is never silent and never complete."""
    await client.send(b"GET /messages?room=a HTTP/1.1\r\nHost: localhost\r\nX: ")
    reading = asyncio.create_task(client.end())
    while not reading.done() and await client.send(b"x"):
        await asyncio.wait({reading}, timeout=0.1)
    assert await reading == b""


async def a_body_byte_by_byte(client: Client) -> None:
    await client.send(CHUNKED if client.random.random() < 0.5 else post(BODY + b" " * 10_000)[:-10_000])
    reading = asyncio.create_task(client.end())
    while not reading.done() and await client.send(b"1\r\n \r\n"):
        await asyncio.wait({reading}, timeout=0.1)
    assert (await reading)[:13] in (b"HTTP/1.1 408 ", b"HTTP/1.1 400 ", b"HTTP/1.1 201 ", b"")


async def a_megabyte_of_header(client: Client) -> None:
    await client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + MEGABYTE)
    assert (await client.end())[:13] in (b"", b"HTTP/1.1 431 ")


async def a_chunked_body_without_end(client: Client) -> None:
    size = client.random.choice([1, 1_000, 65_536])
    chunk = b"%x\r\n%b\r\n" % (size, b" " * size)
    await client.send(CHUNKED)
    reading = asyncio.create_task(client.end())
    while not reading.done() and await client.send(chunk * (1 + 65_536 // size)):
        await asyncio.wait({reading}, timeout=0)
    assert (await reading)[:13] in (b"HTTP/1.1 413 ", b"HTTP/1.1 408 ", b"")


async def trailers_without_end(client: Client) -> None:
    await client.send(CHUNKED + b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY))
    reading = asyncio.create_task(client.end())
    while not reading.done() and await client.send(b"X-Trailer: y\r\n" * 5_000):
        await asyncio.wait({reading}, timeout=0)
    assert (await reading)[:13] in (b"HTTP/1.1 408 ", b"HTTP/1.1 431 ", b"")


async def garbage(client: Client) -> None:
    await client.send(client.random.randbytes(client.random.choice([10, 1_000, 100_000])))
    assert (await client.end())[:13] in (b"", b"HTTP/1.1 400 ", b"HTTP/1.1 431 ")


async def pipelined_requests(client: Client) -> None:
    """Sends all requests before it reads the first answer."""
    count = 50
    await client.send(
        (post(BODY) + request("GET", "/healthz")) * count + request("GET", "/x", "Connection: close")
    )
    assert (await client.reader.read()).count(b"HTTP/1.1 ") == 2 * count + 1


async def pages_that_nobody_reads(client: Client) -> None:
    page = request("GET", "/messages?room=healthy&limit=1000", "Accept: application/json")
    with suppress(TimeoutError):
        async with asyncio.timeout(ENOUGH):
            await client.send(page * 1_000)


async def answers_that_nobody_reads(client: Client) -> None:
    """Sends each publish in a segment of its own, as a client that waits for the answers would."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ENOUGH):
            while await client.send(post(b"{")):  # noqa: ASYNC110
                await asyncio.sleep(0)


async def over_http_1_0(client: Client) -> None:
    follows = client.random.random() < 0.5
    whole = FOLLOW if follows else post(BODY)
    await client.send(whole.replace(b"HTTP/1.1", b"HTTP/1.0"))
    if follows:
        assert b"event: live" in await client.reader.readuntil(b"event: live")
        client.writer.close()
    else:
        assert (await client.end()).startswith(b"HTTP/1.1 201 ")


async def a_follower_with_a_body(client: Client) -> None:
    begin = client.random.choice([GET_CHUNKED, request("GET", "/messages?room=a&replay=none", body=MEGABYTE)])
    await client.send(begin[:100_000])
    await client.reader.readuntil(b"event: live")
    for _ in range(20):
        await client.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    client.writer.close()


async def a_follower_that_goes_on_talking(client: Client) -> None:
    await client.send(FOLLOW)
    await client.reader.readuntil(b"event: live")
    for _ in range(3):
        assert await client.send(MEGABYTE)
    client.writer.close()


@pytest.mark.parametrize(
    ("attack", "connections", "answered"),
    [
        (half_a_request, 500, False),
        (a_head_byte_by_byte, 500, False),
        (a_body_byte_by_byte, 300, False),
        (a_megabyte_of_header, 60, False),
        (a_chunked_body_without_end, 60, False),
        (trailers_without_end, 10, False),
        (garbage, 500, False),
        (pipelined_requests, 60, True),
        (pages_that_nobody_reads, 60, False),
        (answers_that_nobody_reads, 20, False),
        (over_http_1_0, 500, True),
        (a_follower_with_a_body, 100, True),
        (a_follower_that_goes_on_talking, 30, True),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_clients_that_speak_http_badly_hold_up_nobody_and_leave_nothing(
    impatient: Running, patient: Running, attack: Attack, connections: int, answered: bool
) -> None:
    """`answered`: whether the server must answer the requests, and not only end them."""
    server = patient if answered else impatient
    pid = server.process.pid
    server.publish("x")
    before, files, tasks = resident_bytes(pid), open_files(pid), tasks_of(server)
    with Healthy(server) as healthy:
        asyncio.run(crowd(server.port, attack, connections))
    healthy.check()
    wait_for(lambda: open_files(pid) <= files, "the connections' end")
    wait_for(lambda: tasks_of(server) <= tasks, "the tasks' end")
    assert server.metric("roomcast_followers") == 0
    assert healthy.peak - before < 64e6, f"{before / 1e6:.0f} MB, then {healthy.peak / 1e6:.0f}"


async def crowd(port: int, attack: Attack, connections: int) -> None:
    async def one(seed: int) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            await attack(Client(reader, writer, Random(seed)))
        finally:
            writer.transport.abort()

    async with asyncio.timeout(2 * PATIENCE), asyncio.TaskGroup() as group:
        for seed in range(connections):
            group.create_task(one(seed))
