"""A full disk, and one that fails: publishes are refused, and everything else goes on."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import Serve
from tests.disks import small_disk
from tests.hardening.load import Load
from tests.hardening.preloaded import environment
from tests.observer import Observer
from tests.running import PATIENCE, Running, wait_for

HEARTBEAT = ("--heartbeat", "0.5")
CYCLES = 3
MANY: Mapping[str, Any] = {"publishers": 16, "pause": 0.1}
"""As many posts as from few publishers, but each waits two seconds after a refusal, as the server asks: few would
take long to be refused ten times."""
PAGE = {"accept": "application/json"}


class Trouble(NamedTuple):
    """A server, and functions that begin and end the trouble with its disk. `says` is the server's description
    of it."""

    server: Running
    begin: Callable[[], object]
    end: Callable[[], object]
    says: str


class Faults:
    """libfiu in a server: on command the server's system calls fail with EIO."""

    EIO = 5

    def __init__(self, serve: Serve, folder: Path) -> None:
        self._pipes = folder / "fiu"
        env = environment("fiu-run", "-x", "-f", str(self._pipes))
        self.server = serve(*HEARTBEAT, env=env)

    def begin(self, *points: str, probability: float = 1) -> None:
        self._command(
            f"enable_random name={point},probability={probability},failinfo={self.EIO}" for point in points
        )

    def end(self, *points: str) -> None:
        self._command(f"disable name={point}" for point in points)

    def _command(self, commands: Iterable[str]) -> None:
        """Replaces fiu-ctrl, which would wait for ever for a server that has ended."""
        for command in commands:
            self._write(f"{command}\n".encode())
            assert self._read() == b"0\n", command

    def _write(self, command: bytes) -> None:
        opened: list[int] = []

        def is_heard() -> bool:
            with suppress(OSError):  # the server does not read the pipe yet
                opened.append(os.open(self._pipe("in"), os.O_WRONLY | os.O_NONBLOCK))
            return bool(opened)

        wait_for(is_heard, "libfiu in the server")
        os.write(opened[0], command)
        os.close(opened[0])

    def _read(self) -> bytes:
        """The answer. libfiu writes it once this side has opened the pipe, and then closes its own side."""
        answer = b""
        pipe = os.open(self._pipe("out"), os.O_RDONLY | os.O_NONBLOCK)

        def is_whole() -> bool:
            nonlocal answer
            with suppress(BlockingIOError):
                data = os.read(pipe, 100)
                answer += data
                return bool(answer) and not data
            return False

        try:
            wait_for(is_whole, "libfiu's answer")
        finally:
            os.close(pipe)
        return answer

    def _pipe(self, way: str) -> str:
        return f"{self._pipes}-{self.server.process.pid}.{way}"


WRITES, SYNCS, READS = "posix/io/rw/pwrite", "posix/io/sync/fdatasync", "posix/io/rw/pread"


@pytest.fixture(params=["full", WRITES, SYNCS])
def trouble(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Iterator[Trouble]:
    if request.param != "full":
        faults = Faults(serve, tmp_path)
        yield Trouble(
            faults.server,
            lambda: faults.begin(request.param),
            lambda: faults.end(request.param),
            "The log's disk fails: check the disk; publishing goes on as soon as it works again.",
        )
        return
    with small_disk(tmp_path / "disk", "16m") as disk:
        server = serve("--log", f"sqlite:{disk}/log.db", *HEARTBEAT)
        ballast = disk / "ballast"
        yield Trouble(
            server,
            lambda: fill(ballast),
            ballast.unlink,
            "The log's disk is full: make space on it; publishing then goes on.",
        )
        server.kill()


def fill(ballast: Path) -> None:
    """Fills the disk."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except OSError:
        return
    finally:
        os.close(descriptor)


def keyed(server: Running, key: str, text: str) -> tuple[int, dict[str, object]]:
    answer = server.post({"room": "developers", "text": text}, headers={"Idempotency-Key": key})
    return answer.status_code, answer.json()


def test_a_disk_that_takes_nothing_refuses_posts_keeps_streams_and_recovers_by_itself(trouble: Trouble) -> None:
    server = trouble.server
    with Observer(server.port, "/messages?room=developers") as follower:
        follower.until_live()
        _, stored = keyed(server, "stored", "before")
        assert follower.texts(1) == ["before"]

        trouble.begin()
        refused = server.post({"room": "developers", "text": "refused"}, headers={"Idempotency-Key": "refused"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["detail"] == trouble.says
        assert keyed(server, "stored", "before") == (200, stored)
        assert keyed(server, "stored", "another")[0] == 422
        follower.wait_for_heartbeats(2)
        with Observer(server.port, "/messages?room=developers") as newcomer:
            assert [event.name for event in newcomer.until_live()] == ["message", "live"]
        assert server.get("/messages?room=developers", headers=PAGE).json()["messages"] == [stored]

        trouble.end()
        status, afterwards = keyed(server, "refused", "another one, for a refused key is free")
        assert (status, follower.next().json) == (201, afterwards)
        assert [message["id"][-2:] for message in (stored, afterwards)] == ["-1", "-2"]  # type: ignore[index]


def test_a_server_that_cannot_store_says_so_and_is_ready_for_followers(trouble: Trouble) -> None:
    server = trouble.server
    assert (server.get("/readyz").json()["writable"], server.metric("roomcast_log_writable")) == (True, 1)
    keyed(server, "known", "before")
    trouble.begin()
    assert keyed(server, "new", "refused")[0] == 503
    assert keyed(server, "known", "before")[0] == 200
    ready = server.get("/readyz")
    assert ready.status_code == 200
    assert (ready.json()["writable"], ready.json()["detail"]) == (False, trouble.says)
    assert server.metric("roomcast_log_writable") == 0
    trouble.end()
    server.publish("afterwards")
    assert (server.get("/readyz").json()["writable"], server.metric("roomcast_log_writable")) == (True, 1)
    server.wait_until_it_says("The log can be written again")
    said = server.said()
    assert (said.count("The log cannot be written"), said.count("The log can be written again")) == (1, 1)


async def test_a_disk_that_comes_and_goes_leaves_no_hole_and_ends_no_stream(trouble: Trouble) -> None:
    async with Load(trouble.server, keyed=0.3, **MANY) as load:
        for _ in range(CYCLES):
            await load.hold(10)
            trouble.begin()
            await load.be_refused(10)
            trouble.end()
    await load.check_no_hole()
    assert load.record.counts["refused"] > 0
    assert (load.record.counts["resumes"], load.record.counts["sent away"]) == (0, 0)


async def test_a_disk_that_fails_now_and_then_leaves_no_hole(serve: Serve, tmp_path: Path) -> None:
    """One call in fifty fails, reads included: a stream that the log cannot serve is sent away, and comes back."""
    faults = Faults(serve, tmp_path)
    async with Load(faults.server, keyed=0.3, **MANY) as load:
        faults.begin(WRITES, SYNCS, READS, probability=0.02)
        await load.be_refused(16)
        faults.end(WRITES, SYNCS, READS)
        await load.hold(10)
    await load.check_no_hole()


def test_a_disk_that_cannot_be_read_for_a_while_is_not_called_damage(serve: Serve, tmp_path: Path) -> None:
    """Otherwise an operator would replace a sound log by a copy."""
    faults = Faults(serve, tmp_path)
    server = faults.server
    stored = server.publish("stored")
    faults.begin(READS)
    assert "or its disk cannot be read" in server.get("/readyz").json()["detail"]
    assert server.get("/messages?room=developers", headers=PAGE).status_code == 503
    with Observer(server.port, "/messages?room=developers") as follower:
        assert follower.next().json == stored  # from memory
    faults.end(READS)
    assert server.get("/readyz").status_code == 200
    assert server.get("/messages?room=developers", headers=PAGE).json()["messages"] == [stored]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_refused_message_is_not_there_after_a_restart(serve: Serve, tmp_path: Path, end: signal.Signals) -> None:
    """If only the sync fails, the refused message is complete in SQLite's write-ahead log."""
    faults = Faults(serve, tmp_path)
    stored = faults.server.publish("stored")
    faults.begin(SYNCS)
    assert keyed(faults.server, "k", "refused")[0] == 503
    faults.server.process.send_signal(end)
    wait_for(lambda: faults.server.process.poll() is not None, "the end")
    again = serve()
    assert again.get("/messages?room=developers", headers=PAGE).json()["messages"] == [stored]
    assert keyed(again, "k", "another")[0] == 201


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock"])
async def test_a_message_that_would_be_gone_with_its_file_is_not_acknowledged(
    serve: Serve, tmp_path: Path, suffix: str
) -> None:
    """A file of the log is moved away under the server and back. Meanwhile the followers stay connected and
    wait."""
    server = serve(*HEARTBEAT)
    file, aside = tmp_path / f"test.db{suffix}", tmp_path / "aside"
    async with Load(server, **MANY) as load:
        await load.hold(10)
        file.rename(aside)
        await load.be_refused(10)
        assert server.get("/readyz").json()["detail"].startswith(f"test.db{suffix} was moved, removed or replaced")
        aside.rename(file)
        await load.hold(10)
    await load.check_no_hole()
    assert load.record.counts["resumes"] == 0
    assert "Traceback" not in server.said()


@pytest.mark.parametrize(("suffix", "left"), [("", 0), ("", 0.5), ("-wal", 0), ("-wal", 0.5), ("-wal", 0.97)])
def test_a_message_that_would_be_gone_with_a_file_that_was_cut_is_not_acknowledged(
    serve: Serve, tmp_path: Path, suffix: str, left: float
) -> None:
    """A cut of the write-ahead log is noticed before the next answer, one of the database a tenth of a second
    later. No id of a lost message is used again, even without --new-epoch: a server that ends by itself begins
    a new epoch at its next start."""
    server = serve()
    server.publish("checkpointed")
    assert server.terminate() == 0
    server = serve()
    last = [server.publish(f"{n}" * 500)["id"] for n in range(20)][-1]
    file = tmp_path / f"test.db{suffix}"
    os.truncate(file, int(file.stat().st_size * left))
    refused = server.post({"room": "developers", "text": "x"})
    if not suffix:
        wait_for(
            lambda: server.post({"room": "developers", "text": "x"}).status_code == 503, "the server to notice"
        )
        refused = server.post({"room": "developers", "text": "refused"})
    assert refused.status_code == 503
    assert refused.json()["detail"].startswith(f"test.db{suffix} was emptied or cut short")
    assert server.terminate() == 0
    assert server.said().count("was emptied or cut short") == 1
    if suffix:
        assert serve().publish("afterwards")["id"].split("-")[0] != last.split("-")[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("left", [0, 0.5])
def test_a_write_ahead_log_that_is_cut_while_messages_are_published_takes_none_that_is_acknowledged_after(
    serve: Serve, tmp_path: Path, left: float
) -> None:
    """At whatever moment the cut happens: after a kill the log has at most the messages from before it. So no
    later publish may be acknowledged."""
    server = serve("--no-access-log")
    file = tmp_path / "test.db-wal"
    statuses: list[tuple[float, int]] = []

    def publish() -> None:
        while len(statuses) < 3 or statuses[-1][1] == 201:
            began = time.monotonic()
            statuses.append((began, server.post({"room": "developers", "text": "x" * 500}).status_code))

    thread = threading.Thread(target=publish)
    thread.start()
    wait_for(lambda: len(statuses) > 50, "messages")
    os.truncate(file, int(file.stat().st_size * left))
    cut = time.monotonic()
    thread.join(PATIENCE)
    assert [status for began, status in statuses if began > cut and status == 201] == []
    assert statuses[-1][1] == 503


def test_another_program_that_empties_the_write_ahead_log_into_the_database_is_no_cut(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve()
    for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
        for _ in range(3):
            for n in range(5):
                server.publish(f"{n}" * 500)
            other = sqlite3.connect(tmp_path / "test.db")
            other.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            other.close()
    other = sqlite3.connect(tmp_path / "test.db")
    other.execute("VACUUM")
    other.close()
    server.publish("still written")
    assert server.terminate() == 0
    assert "cut short" not in server.said()


def test_a_copy_put_in_the_place_of_an_open_log_is_not_spoilt_by_its_end(serve: Serve, tmp_path: Path) -> None:
    """SQLite would otherwise apply the old file's write-ahead log to the copy."""
    server = serve()
    kept = [server.publish(f"kept {n}") for n in range(20)]
    assert server.terminate() == 0
    shutil.copy(tmp_path / "test.db", tmp_path / "copy")
    server = serve()
    for n in range(200):
        server.publish(f"lost {n}")
    (tmp_path / "copy").replace(tmp_path / "test.db")
    wait_for(
        lambda: server.post({"room": "developers", "text": "refused"}).status_code == 503, "the server to notice"
    )
    assert server.terminate() == 0
    server = serve("--new-epoch")
    page = server.get("/messages?room=developers", headers=PAGE).json()
    assert [message["text"] for message in page["messages"]] == [message["text"] for message in kept]
    assert int(str(server.publish("next")["id"]).split("-")[1]) == 21
