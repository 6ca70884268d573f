"""Followers that read nothing, or almost nothing: they take bounded memory, do not delay others, and are closed
in time."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Iterator
from ctypes import addressof, create_string_buffer
from pathlib import Path

import pytest
from click.testing import CliRunner

from roomcast.cli.main import main
from tests.certificate import Certificate, connect
from tests.conftest import Serve
from tests.hardening.process import resident_bytes, tcp_bytes
from tests.hardening.sink import build_sink, run_sink
from tests.observer import Observer
from tests.running import Running, wait_for

_DEAD, _TRICKLING, _CROWD = 30, 10, 500
_LOAD = {"followers": _CROWD, "rate": 50, "seconds": 3, "padding": 12_000, "timeout": 40}
"""About 2 MB for each follower: 80 MB for 40 followers that read nothing, if the kernel kept it."""
_FLOOD = [{"room": "flood", "text": "x" * 60_000}] * 16
_FLOODS = 50
"""48 MB in all, if the process kept it."""
_BOUND, _KERNEL_BOUND = 25_000_000, 50_000_000
"""Bytes. The kernel's count includes all connections of the machine, also those of other tests."""
_FACTOR, _FLOOR_MS = 5, 250
"""The other followers' p99 may grow by this factor, or to this value. A defect would make them wait for
seconds."""
_SLOW = 'roomcast_streams_ended_total{reason="slow"}'
_SO_ATTACH_FILTER = 26


def test_a_follower_that_does_not_read_takes_little_memory_delays_nobody_and_is_closed(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve("--slow-after=12", "--no-access-log", "--max-bytes=2000000")
    sink = build_sink(tmp_path)
    kernel_before = tcp_bytes()
    alone = run_sink(sink, server.port, **_LOAD)["p99_ms"]
    before = resident_bytes(server.process.pid)
    with contextlib.ExitStack() as stack:
        mute = [stack.enter_context(_mute(server, "room0&room=flood")) for _ in range(_DEAD + _TRICKLING)]
        stack.enter_context(_trickling(mute[:_TRICKLING]))
        beside = run_sink(sink, server.port, **_LOAD)["p99_ms"]
        for _ in range(_FLOODS):
            assert server.post(_FLOOD).status_code == 201
        wait_for(lambda: server.metric("roomcast_followers") <= _DEAD + _TRICKLING, "the crowd's end")
        assert server.metric(_SLOW) == 0, "followers were closed before their memory was measured"
        assert resident_bytes(server.process.pid) - before < _BOUND
        assert tcp_bytes() - kernel_before < _KERNEL_BOUND
        # The room is quiet from now on.
        wait_for(lambda: server.metric(_SLOW) >= _DEAD, "the end of those who never read")
        wait_for(
            lambda: server.metric(_SLOW) + server.metric("roomcast_followers") == _DEAD + _TRICKLING,
            "every ending to be counted",
        )
    if beside > max(_FACTOR * alone, _FLOOR_MS):  # perhaps the machine was busy: once more
        with contextlib.ExitStack() as stack:
            for _ in range(_DEAD):
                stack.enter_context(_mute(server, "room0"))
            assert run_sink(sink, server.port, **_LOAD)["p99_ms"] <= max(_FACTOR * alone, _FLOOR_MS)


def test_over_tls_a_follower_that_does_not_read_takes_little_memory_delays_nobody_and_is_closed(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve("--slow-after=3", "--no-access-log", "--max-bytes=2000000", certificate=Certificate(tmp_path))
    with contextlib.ExitStack() as stack:
        mute = [stack.enter_context(_mute(server, "flood")) for _ in range(_DEAD + _TRICKLING)]
        reading = stack.enter_context(Observer(server.port, "/messages?room=flood&replay=none"))
        assert reading.next().name == "live"
        wait_for(lambda: server.metric("roomcast_followers") == len(mute) + 1, "all followers to connect")
        stack.enter_context(_trickling(mute[:_TRICKLING]))
        before = resident_bytes(server.process.pid)
        for _ in range(_FLOODS):
            assert server.post(_FLOOD).status_code == 201
            assert [len(text) for text in reading.texts(len(_FLOOD))] == [60_000] * len(_FLOOD)
        assert resident_bytes(server.process.pid) - before < _BOUND
        wait_for(lambda: server.metric(_SLOW) >= _DEAD, "the end of those who never read")
        assert "Traceback" not in server.said()


@pytest.mark.parametrize("over", ["plain", "TLS"])
def test_a_follower_that_stops_reading_is_closed_even_if_only_the_kernel_holds_its_bytes(
    serve: Serve, tmp_path: Path, over: str
) -> None:
    """To the server such a follower seems caught up: none of its bytes wait in the process, and the room is
    quiet."""
    certificate = Certificate(tmp_path) if over == "TLS" else None
    server = serve("--slow-after=2", "--heartbeat=1", certificate=certificate)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(_mute(server, "quiet"))
        reading = stack.enter_context(Observer(server.port, "/messages?room=quiet"))
        reading.until_live()
        wait_for(lambda: server.metric("roomcast_followers") == 6, "all followers to connect")
        for _ in range(3):
            server.publish("x" * 10_000, "quiet")
        assert server.metric("roomcast_followers_behind") == 0
        assert [len(text) for text in reading.texts(3)] == [10_000] * 3
        wait_for(lambda: server.metric(_SLOW) == 5, "the end of the dead streams")
        _goes_on(server, reading)


@pytest.mark.parametrize("over", ["plain", "TLS"])
def test_heartbeats_find_followers_that_have_vanished_from_a_quiet_room(
    serve: Serve, tmp_path: Path, over: str
) -> None:
    """As behind a router that was switched off: no packet comes back, not even a reset."""
    certificate = Certificate(tmp_path) if over == "TLS" else None
    server = serve("--slow-after=2", "--heartbeat=1", certificate=certificate)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            follower = stack.enter_context(Observer(server.port, "/messages?room=silent"))
            follower.until_live()
            _vanish(follower.socket)
        reading = stack.enter_context(Observer(server.port, "/messages?room=silent"))
        reading.until_live()
        wait_for(lambda: server.metric(_SLOW) == 5, "the end of the dead streams")
        _goes_on(server, reading)


def test_a_follower_that_takes_nothing_is_closed_after_30_seconds_by_default() -> None:
    said = CliRunner().invoke(main, ["serve", "--help"]).output
    assert re.search(r"--slow-after\b.*?\[default:\s+30(\.0)?[];]", said, re.DOTALL)


def _goes_on(server: Running, reading: Observer) -> None:
    assert server.metric("roomcast_followers") == 1
    reading.wait_for_heartbeats(2)
    server.publish("still here", "quiet" if reading.last_id.endswith("-3") else "silent")
    assert reading.texts(1) == ["still here"]


@contextlib.contextmanager
def _mute(server: Running, room: str) -> Iterator[socket.socket]:
    """A follower that never reads. Its receive buffer takes about 2 KB."""
    with connect(server.port, receive_buffer=2048) as mute:
        mute.sendall(f"GET /messages?room={room}&replay=none HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield mute


@contextlib.contextmanager
def _trickling(sockets: list[socket.socket]) -> Iterator[None]:
    """Reads a byte a second from each socket meanwhile, below TLS."""
    over = threading.Event()

    def read() -> None:
        while not over.wait(1):
            for one in sockets:
                with contextlib.suppress(OSError):
                    socket.socket.recv(one, 1, socket.MSG_DONTWAIT)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _vanish(one: socket.socket) -> None:
    """Attaches a filter that returns 0: the kernel drops every packet for this socket, and so acknowledges
    none."""
    program = create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, addressof(program)))
