"""The logs side by side, in one run: durable publishes by one, two and three servers, and what each costs.

    python -m benchmarks.databases [--seconds 5] [--logs sqlite,postgresql,ferretdb,secantusdb]

Each round has servers, load and database of its own on all cores of this machine, so the relations mean more than
the rates. PostgreSQL and SQLite wait for the disk with each commit; FerretDB and SecantusDB stand in for MongoDB.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.mongodb import _connected
from tests.mongodb.database import FerretDB, Process, SecantusDB, fresh_name
from tests.postgresql.database import Cluster
from tests.running import Running

CONNECTIONS = 32
"""Publishers to each server; each waits for its answer."""
PACE = 200
"""Publishes a second in the paced part."""
_TICKS = os.sysconf("SC_CLK_TCK")


class Round(NamedTuple):
    """The figures of a run with a number of servers."""

    publishes: float
    """Publishes a second by all servers together."""
    least_share: float
    """The slowest server's share of the publishes, divided by an even share."""
    server_us: float
    """CPU of all servers for a publish, in µs."""
    database_us: float
    cores: float
    """Cores that servers, database and load kept busy; near the machine's number they are the limit."""


@contextmanager
def _database(log: str) -> Iterator[tuple[str, int | None]]:
    """The log's connection string, and the process whose CPU is the database's."""
    with tempfile.TemporaryDirectory() as folder:
        if log == "sqlite":
            yield f"sqlite:{folder}/bench.db", None
        elif log == "postgresql":
            cluster = Cluster()
            cluster.make()
            cluster.start()
            try:
                assert cluster.process
                yield cluster.url(), cluster.process.pid
            finally:
                cluster.remove()
        else:
            server: Process = FerretDB() if log == "ferretdb" else SecantusDB()
            server.start()
            try:
                assert server.process
                yield f"{server.url}/{fresh_name()}", server.process.pid
            finally:
                server.remove()


@contextmanager
def _servers(log: str, url: str, count: int) -> Iterator[list[Running]]:
    mongodb = log in ("ferretdb", "secantusdb")
    program = "tests.mongodb.serve" if mongodb else "roomcast"
    root = Path(__file__).parents[1]
    env = {"PYTHONPATH": f"{root}/src:{root}", "ROOMCAST_TEST_SERVER": log}
    command = [sys.executable, "-m", program, "serve", "--port", "0", "--page-port", "0", "--log", url]
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        servers = []
        for _ in range(count):
            server = Running(command, Path(folder), env)
            stack.callback(server.kill)
            server.port = int(server.wait_until_it_says(r"follow +http://\S+?:(\d+)/messages")[1])
            servers.append(server)
        yield servers


def _cpu(pid: int) -> float:
    """CPU seconds of a process and its children, ended ones included."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    used = sum(map(int, stat[11:15])) / _TICKS
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        try:
            used += _cpu(int(child))
        except OSError:  # it has just ended
            continue
    return used


async def _flat_out(ports: Sequence[int], seconds: float) -> list[int]:
    """How many publishes each server stored."""
    stored = [0] * len(ports)
    async with AsyncExitStack() as stack:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds

        async def publisher(which: int, port: int) -> None:
            connection = await stack.enter_async_context(_connected(port))
            while loop.time() < end:
                await connection.publish("hello")
                stored[which] += 1

        await asyncio.gather(*(publisher(n, port) for n, port in enumerate(ports) for _ in range(CONNECTIONS)))
    return stored


def _race(log: str, count: int, seconds: float) -> Round:
    with _database(log) as (url, database), _servers(log, url, count) as servers:
        ports = [server.port for server in servers]
        pids = [server.process.pid for server in servers]
        asyncio.run(_flat_out(ports, min(1.0, seconds)))  # connections are made, caches are warm
        before, before_database = sum(map(_cpu, pids)), _cpu(database) if database else 0.0
        before_load = time.process_time()
        began = time.monotonic()
        stored = asyncio.run(_flat_out(ports, seconds))
        took, total = time.monotonic() - began, sum(stored)
        servers_cpu = sum(map(_cpu, pids)) - before
        database_cpu = _cpu(database) - before_database if database else 0.0
        load_cpu = time.process_time() - before_load
    share = min(stored) / total * count
    cores = (servers_cpu + database_cpu + load_cpu) / took
    return Round(total / took, share, servers_cpu / total * 1e6, database_cpu / total * 1e6, cores)


async def _paced(publishing: int, following: int, seconds: float) -> tuple[list[float], list[float]]:
    """Times of answers from the server on port `publishing`, and of deliveries to a follower of the one on port
    `following`, in ms after the request was sent."""
    answers: list[float] = []
    deliveries: list[float] = []
    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(_connected(publishing)) for _ in range(8)]
        follower = await stack.enter_async_context(_follower(following))
        free: asyncio.Queue[int] = asyncio.Queue()
        for number in range(len(connections)):
            free.put_nowait(number)
        sent: dict[int, float] = {}
        arrived: dict[int, float] = {}

        async def publish(number: int) -> None:
            which = await free.get()
            sent[number] = time.perf_counter()
            await connections[which].publish(f"message {number} ")
            answers.append((time.perf_counter() - sent[number]) * 1e3)
            free.put_nowait(which)

        count = int(PACE * seconds)
        following_all = asyncio.create_task(_follow(follower, count, arrived))
        began = time.perf_counter()
        tasks = []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / PACE - time.perf_counter()))
            tasks.append(asyncio.create_task(publish(number)))
        await asyncio.gather(*tasks)
        async with asyncio.timeout(30):
            await following_all
        deliveries = [(arrived[number] - sent[number]) * 1e3 for number in arrived]
    return answers, deliveries


@asynccontextmanager
async def _follower(port: int) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /messages?room=room0&replay=none HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"event: live")
        yield reader
    finally:
        writer.close()


async def _follow(follower: asyncio.StreamReader, count: int, arrived: dict[int, float]) -> None:
    """Records when each message arrives, in any order."""
    while len(arrived) < count:
        line = await follower.readuntil(b"\n")
        if b'"text":"message ' in line:
            arrived[int(line.partition(b'"text":"message ')[2].split(b" ")[0])] = time.perf_counter()


def _paced_round(log: str, seconds: float) -> tuple[float, float, float]:
    """Medians in ms of answers, deliveries on the same server, and deliveries on another one."""
    with _database(log) as (url, _), _servers(log, url, 1 if log == "sqlite" else 2) as servers:
        answers, own = asyncio.run(_paced(servers[0].port, servers[0].port, seconds))
        other = asyncio.run(_paced(servers[0].port, servers[-1].port, seconds))[1] if len(servers) > 1 else []
    return (
        statistics.median(answers),
        statistics.median(own),
        statistics.median(other) if other else float("nan"),
    )


def main() -> None:
    """Prints both tables, for the logs and seconds that the command line names."""
    parser = argparse.ArgumentParser(description="The logs side by side.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--logs", default="sqlite,postgresql,ferretdb,secantusdb")
    arguments = parser.parse_args()
    print("| log | servers | publishes/s | least share | server µs | database µs | cores busy |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    logs = arguments.logs.split(",")
    for log in logs:
        for count in (1,) if log == "sqlite" else (1, 2, 3):
            found = _race(log, count, arguments.seconds)
            print(
                f"| {log} | {count} | {found.publishes:,.0f} | {found.least_share:.2f} | {found.server_us:.0f} "
                f"| {found.database_us:.0f} | {found.cores:.1f} |",
                flush=True,
            )
    print(f"\n| log, {PACE}/s | answer p50 ms | delivery p50 ms | on another server p50 ms |")
    print("| --- | --- | --- | --- |")
    for log in logs:
        answer, own, other = _paced_round(log, arguments.seconds)
        print(f"| {log} | {answer:.1f} | {own:.1f} | {other:.1f} |", flush=True)


if __name__ == "__main__":
    main()
