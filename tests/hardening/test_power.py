"""A power cut: the process is gone, and so is everything that the kernel had not written to the disk yet.

kill -9 alone leaves the kernel's cache as it was, so it shows nothing about `fsync`. Here the log is on an ext4
file system of its own (a file, mounted through a loop device). The ioctl that xfstests uses shuts it down without
flushing: from then on neither data nor the journal reaches the image. Mounting the image again replays the
journal, as after a real cut. So the test loses exactly what a real file system loses, including files that were
created, removed and renamed, and no part of the server is replaced. A preloaded library that holds writes back
would have to know each call that SQLite makes, and guess what ext4 does with the rest. The log's shared memory
(-shm) is on that disk, too; SQLite creates it anew when it opens the log.

The test does not cover a disk that reports writes which it has not done.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve
from tests.disks import Disk, small_disk
from tests.hardening.load import Load
from tests.observer import Observer
from tests.running import PATIENCE, Running

ROUNDS = 4


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk whose image is in memory: only the data that the file system has written to the image counts."""
    with small_disk(tmp_path / "memory", "300m") as memory:
        disk = Disk(memory / "disk.img", tmp_path / "disk")
        yield disk
        disk.unmount()


@pytest.fixture
def serve_there(disk: Disk, serve: Serve) -> Iterator[Serve]:
    """Starts servers on that disk, and ends them before it is unmounted."""
    servers: list[Running] = []

    def start(*options: str) -> Running:
        servers.append(serve("--log", f"sqlite:{disk.folder}/log.db", *options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


WRITER = """
import os, sys
kept, lost, renamed = (os.open(name, os.O_RDWR | os.O_CREAT) for name in sys.argv[1:])
os.write(kept, b"kept")
os.fsync(kept)
os.fsync(os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY))
os.pwrite(kept, b"LOST", 0)
os.write(lost, b"lost")
os.rename(sys.argv[3], sys.argv[3] + ".new")
"""


def test_a_power_cut_takes_what_was_not_synced_and_nothing_else(disk: Disk) -> None:
    """Checks the method itself."""
    names = [str(disk.folder / name) for name in ("kept", "lost", "renamed")]
    subprocess.run([sys.executable, "-c", WRITER, *names], check=True, timeout=PATIENCE)
    assert (disk.folder / "kept").read_bytes() == b"LOST"
    disk.cut_power()
    assert (disk.folder / "kept").read_bytes() == b"kept"
    assert sorted(path.name for path in disk.folder.iterdir()) == ["kept", "lost", "lost+found", "renamed"]
    assert (disk.folder / "lost").read_bytes() == b""


@pytest.mark.parametrize("synchronous", ["normal", "off"])
def test_with_lowered_durability_a_power_cut_takes_messages_and_the_epoch_changes(
    disk: Disk, serve_there: Serve, synchronous: str
) -> None:
    server = serve_there("--synchronous", synchronous)
    last = str([server.publish(f"{n}")["id"] for n in range(50)][-1])
    cut_power(server, disk)
    again = serve_there("--synchronous", synchronous)
    stored = str(again.publish("afterwards")["id"])
    assert stored.split("-")[0] != last.split("-")[0]
    assert int(stored.split("-")[1]) <= 50
    with Observer(again.port, "/messages?room=developers", headers={"Last-Event-ID": last}) as resumed:
        gap = resumed.next()
        assert (gap.name, gap.json["reason"]) == ("gap", "epoch")


async def test_a_power_cut_takes_no_acknowledged_message(disk: Disk, serve_there: Serve) -> None:
    """Every other cut happens during a checkpoint, while SQLite moves 16 MiB from its write-ahead log into the
    database."""
    options = ("--max-bytes", "150000000")
    server = serve_there(*options)
    async with Load(server, pause=0.1) as load:
        for round in range(ROUNDS):
            await load.hold(load.random.choice((1, 10, 40)))
            filling = asyncio.create_task(asyncio.to_thread(fill, server, time.monotonic() + 2 * PATIENCE))
            before = written_at(disk)
            if round % 2:
                await load.until(lambda: written_at(disk) != before, "a checkpoint")  # noqa: B023
            cut_power(server, disk)
            await filling
            server = await asyncio.to_thread(serve_there, "--port", str(server.port), *options)
    await load.check_no_hole()


def fill(server: Running, end: float) -> None:
    """Posts batches of 900 KB until the server is gone, or until `end` (monotonic): a failing test waits for its
    threads before it ends the server."""
    batch = [{"room": "large", "text": "x" * 60_000}] * 15
    with suppress(httpx.HTTPError):
        while time.monotonic() < end:
            httpx.post(f"{server.url}/messages", json=batch, timeout=PATIENCE)


def cut_power(server: Running, disk: Disk) -> None:
    server.kill()
    disk.cut_power()


def written_at(disk: Disk) -> int:
    """When the database file was last written, in ns. Commits write only the write-ahead log beside it."""
    return (disk.folder / "log.db").stat().st_mtime_ns
