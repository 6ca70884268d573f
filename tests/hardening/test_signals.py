"""Signals from a service manager, a shell and a closing terminal to a busy process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from roomcast.torture.attack import Attack, Plan
from roomcast.torture.target import Target
from tests.conftest import Serve
from tests.observer import Observer
from tests.raw import JSON, Raw, post, request
from tests.running import PATIENCE, Running, free_port, wait_for

_ROOM = "/messages?room=developers"
_WITH_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes standard error the controlling terminal of the process, then runs the given program in its place."""
_NO_CUTS = 1e9
"""Seconds of a follower's life: longer than the test, so that only the server ends its streams."""


async def test_1000_followers_are_sent_away_by_sigterm_and_nothing_acknowledged_is_lost(serve: Serve) -> None:
    """They reconnect to the next server on the same port and file, and have heard everything in the end."""
    port = free_port()
    options = (f"--port={port}", "--no-access-log")
    server = serve(*options)
    attack = Attack(Target.parse(server.url), Plan(seconds=8, followers=1000, rooms=20, pause=0.04, life=_NO_CUTS))
    async with _under_way(attack) as run:
        await _acknowledged(attack, 20)
        seconds = await _seconds_to_end(server)
        acknowledged = attack.record.counts["acknowledged"]
        serve(*options)
        await run
    assert seconds < 10
    assert attack.record.violations == []
    assert attack.record.counts["acknowledged"] > acknowledged, "the second server was to be published to"
    ends = [follower.retries[0] for follower in attack.followers]
    assert all(retry and 2_000 <= retry <= 10_000 for retry in ends)
    assert len(set(ends)) > 500


def test_sigterm_waits_neither_for_a_client_that_does_not_read_nor_for_half_a_request(serve: Serve) -> None:
    server = serve("--no-access-log")
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(Observer(server.port, _ROOM, receive_buffer=4096))
        half = request("POST", "/messages", JSON, "Content-Length: 9") + b"{"
        stack.enter_context(Raw(server.port, half))
        for number in range(50):
            server.publish(f"{number} {'x' * 20_000}")
        wait_for(lambda: server.metric("roomcast_followers_behind") == 5, "all followers to be behind")
        assert asyncio.run(_seconds_to_end(server)) < 10
    history = serve("--no-access-log").get(_ROOM, headers={"Accept": "application/json"}).json()
    assert len(history["messages"]) == 50


async def test_a_server_that_was_stopped_for_long_goes_on_and_blames_nobody(serve: Serve) -> None:
    """The server is stopped for longer than a heartbeat and than `--slow-after`. Its clocks jump, but the clients
    have done nothing wrong."""
    server = serve("--heartbeat=1", "--slow-after=2", "--no-access-log")
    attack = Attack(Target.parse(server.url), Plan(seconds=6, followers=100, pause=0.05, life=_NO_CUTS))
    with (
        Observer(server.port, "/messages?room=silent") as silent,
        Observer(server.port, "/messages?room=big", receive_buffer=4096) as behind,
    ):
        silent.until_live()
        behind.until_live()
        async with _under_way(attack) as run:
            await _acknowledged(attack, 100)
            texts = [f"{number} {'x' * 20_000}" for number in range(50)]
            server.post([{"room": "big", "text": text} for text in texts])
            assert server.metric("roomcast_followers_behind") > 0
            server.process.send_signal(signal.SIGSTOP)
            # The kernel's bytes can be read now; the rest waits in the stopped process.
            reading = asyncio.create_task(asyncio.to_thread(behind.texts, len(texts)))
            await asyncio.sleep(4)
            assert not reading.done()
            server.process.send_signal(signal.SIGCONT)
            assert await reading == texts
            acknowledged = attack.record.counts["acknowledged"]
            await run
        assert attack.record.violations == []
        assert attack.record.counts["acknowledged"] > acknowledged
        assert attack.record.counts["sent away"] == 0
        assert server.metric('roomcast_streams_ended_total{reason="slow"}') == 0
        silent.wait_for_heartbeats(silent.comments + 2)


def test_a_hangup_changes_nothing(serve: Serve) -> None:
    server = serve()
    with Observer(server.port, _ROOM) as follower:
        follower.until_live()
        server.process.send_signal(signal.SIGHUP)
        server.publish("still here")
        assert follower.texts(1) == ["still here"]
    assert server.terminate() == 0


def test_a_closed_terminal_does_not_end_it(tmp_path: Path) -> None:
    """The kernel sends SIGHUP to the server whose terminal it was, and writes to the terminal fail."""
    terminal, its = pty.openpty()
    with _started(tmp_path, its, with_terminal=True) as (server, port):
        os.close(its)
        _await_follow(port)
        os.close(terminal)
        _works_and_ends(server, port)


def test_a_pipe_closed_by_its_reader_does_not_end_it(tmp_path: Path) -> None:
    """As in `roomcast serve 2>&1 | head -1`, before and after the banner."""
    for closed_at_once in (True, False):
        reader, writer = os.pipe()
        if closed_at_once:
            os.close(reader)
        with _started(tmp_path, writer) as (server, port):
            os.close(writer)
            _await_follow(port)
            if not closed_at_once:
                os.close(reader)
            _works_and_ends(server, port)


def test_a_pipe_that_nobody_reads_does_not_hold_up_its_end(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with _started(tmp_path, writer) as (server, port):
        os.close(writer)
        _await_follow(port)
        with Raw(port) as client:
            for _ in range(200):  # lines of some 1,000 bytes: more than a pipe holds
                client.send(request("GET", f"/healthz?{'x' * 1000}"))
                assert client.answer().status == 200
        _works_and_ends(server, port)
    os.close(reader)


def test_a_server_without_a_standard_error_writes_its_lines_nowhere(tmp_path: Path) -> None:
    """The next file that is opened, such as the database or a client's socket, gets the number of the missing
    descriptor; no line may be written there."""
    with _started(tmp_path, None) as (server, port):
        _await_follow(port)
        _works_and_ends(server, port)


@contextlib.asynccontextmanager
async def _under_way(attack: Attack) -> AsyncIterator[asyncio.Task[None]]:
    run = asyncio.create_task(attack.run())
    try:
        yield run
    finally:
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run


async def _acknowledged(attack: Attack, count: int) -> None:
    def looked() -> bool:
        return attack.record.counts["acknowledged"] > count

    await asyncio.to_thread(wait_for, looked, f"{count} publishes")


async def _seconds_to_end(server: Running) -> float:
    """From SIGTERM to exit status 0."""
    began = time.monotonic()
    assert await asyncio.to_thread(server.terminate) == 0, server.said()
    return time.monotonic() - began


@contextlib.contextmanager
def _started(
    folder: Path, stderr: int | None, with_terminal: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Runs a server whose standard streams are the descriptor `stderr`, or closed if it is None. Gives process
    and port."""
    port = free_port()
    command = [sys.executable, "-m", "roomcast", "serve", f"--port={port}", "--page-port=0", "--log=sqlite:x.db"]
    if stderr is None:
        command = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command]
    if with_terminal:
        command = [sys.executable, "-c", _WITH_TERMINAL, *command]
    process = subprocess.Popen(
        command, cwd=folder, stdin=stderr, stdout=stderr, stderr=stderr, start_new_session=True
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.wait(PATIENCE)


def _await_follow(port: int) -> None:
    def answers() -> bool:
        with contextlib.suppress(ConnectionRefusedError), Raw(port, request("GET", "/readyz")) as connection:
            return connection.answer().status == 200
        return False

    wait_for(answers, "the server")


def _works_and_ends(server: subprocess.Popen[bytes], port: int) -> None:
    """Checks that the server stores and delivers messages, and that SIGTERM ends it with status 0."""
    with Observer(port, f"{_ROOM}&replay=none") as follower, Raw(port) as publisher:
        follower.until_live()
        for number in range(20):
            publisher.send(post(b'{"room": "developers", "text": "%d"}' % number))
            assert publisher.answer().status == 201
        assert follower.texts(20) == [str(number) for number in range(20)]
        server.terminate()
        assert follower.next_or_end() is None
        assert follower.clean_end
    assert server.wait(10) == 0
