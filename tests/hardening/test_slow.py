"""Followers that read nothing, or next to it: bounded in memory, no harm to the others, and let go in time."""

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
"""Some 2 MB a follower: for 40 that take none of it 80 MB, if the kernel kept it."""
_FLOOD = [{"room": "flood", "text": "x" * 60_000}] * 16
_FLOODS = 50
"""Together 48 MB, if the process kept it."""
_BOUND, _KERNEL_BOUND = 25_000_000, 50_000_000
"""Bytes; the kernel's are those of all connections of the machine, the other tests' as well."""
_FACTOR, _FLOOR_MS = 5, 250
"""How much longer the others' p99 may be: what is looked for are waits, of seconds, for those who do not read."""
_SLOW = 'roomcast_streams_ended_total{reason="slow"}'
_SO_ATTACH_FILTER = 26


def test_who_does_not_read_takes_little_memory_harms_nobody_and_is_let_go(serve: Serve, tmp_path: Path) -> None:
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
        assert server.metric(_SLOW) == 0, "they were to be measured while they are there"
        assert resident_bytes(server.process.pid) - before < _BOUND
        assert tcp_bytes() - kernel_before < _KERNEL_BOUND
        # From here on nobody publishes.
        wait_for(lambda: server.metric(_SLOW) >= _DEAD, "the end of those who never read")
        wait_for(
            lambda: server.metric(_SLOW) + server.metric("roomcast_followers") == _DEAD + _TRICKLING,
            "every ending to be counted",
        )
    if beside > max(_FACTOR * alone, _FLOOR_MS):  # or the machine had other things to do
        with contextlib.ExitStack() as stack:
            for _ in range(_DEAD):
                stack.enter_context(_mute(server, "room0"))
            assert run_sink(sink, server.port, **_LOAD)["p99_ms"] <= max(_FACTOR * alone, _FLOOR_MS)


def test_over_tls_who_does_not_read_takes_little_memory_harms_nobody_and_is_let_go(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve("--slow-after=3", "--no-access-log", "--max-bytes=2000000", certificate=Certificate(tmp_path))
    with contextlib.ExitStack() as stack:
        mute = [stack.enter_context(_mute(server, "flood")) for _ in range(_DEAD + _TRICKLING)]
        reading = stack.enter_context(Observer(server.port, "/messages?room=flood&replay=none"))
        assert reading.next().name == "live"
        wait_for(lambda: server.metric("roomcast_followers") == len(mute) + 1, "all to come in")
        stack.enter_context(_trickling(mute[:_TRICKLING]))
        before = resident_bytes(server.process.pid)
        for _ in range(_FLOODS):
            assert server.post(_FLOOD).status_code == 201
            assert [len(text) for text in reading.texts(len(_FLOOD))] == [60_000] * len(_FLOOD)
        assert resident_bytes(server.process.pid) - before < _BOUND
        wait_for(lambda: server.metric(_SLOW) >= _DEAD, "the end of those who never read")
        assert "Traceback" not in server.said()


@pytest.mark.parametrize("over", ["plain", "TLS"])
def test_who_stops_reading_is_let_go_also_where_only_the_kernel_holds_its_bytes(
    serve: Serve, tmp_path: Path, over: str
) -> None:
    """To the server such a follower seems caught up: nothing of it waits in the process, and the room is quiet."""
    certificate = Certificate(tmp_path) if over == "TLS" else None
    server = serve("--slow-after=2", "--heartbeat=1", certificate=certificate)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(_mute(server, "quiet"))
        reading = stack.enter_context(Observer(server.port, "/messages?room=quiet"))
        reading.until_live()
        wait_for(lambda: server.metric("roomcast_followers") == 6, "all to come in")
        for _ in range(3):
            server.publish("x" * 10_000, "quiet")
        assert server.metric("roomcast_followers_behind") == 0
        assert [len(text) for text in reading.texts(3)] == [10_000] * 3
        wait_for(lambda: server.metric(_SLOW) == 5, "their end")
        _goes_on(server, reading)


@pytest.mark.parametrize("over", ["plain", "TLS"])
def test_heartbeats_find_out_who_has_vanished_from_a_room_where_nothing_is_said(
    serve: Serve, tmp_path: Path, over: str
) -> None:
    """As behind a router that was switched off: no packet comes back, not even one that refuses."""
    certificate = Certificate(tmp_path) if over == "TLS" else None
    server = serve("--slow-after=2", "--heartbeat=1", certificate=certificate)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            follower = stack.enter_context(Observer(server.port, "/messages?room=silent"))
            follower.until_live()
            _vanish(follower.socket)
        reading = stack.enter_context(Observer(server.port, "/messages?room=silent"))
        reading.until_live()
        wait_for(lambda: server.metric(_SLOW) == 5, "their end")
        _goes_on(server, reading)


def test_who_takes_nothing_is_let_go_after_30_seconds_unless_told_otherwise() -> None:
    said = CliRunner().invoke(main, ["serve", "--help"]).output
    assert re.search(r"--slow-after\b.*?\[default:\s+30(\.0)?[];]", said, re.DOTALL)


def _goes_on(server: Running, reading: Observer) -> None:
    assert server.metric("roomcast_followers") == 1
    reading.wait_for_heartbeats(2)
    server.publish("still here", "quiet" if reading.last_id.endswith("-3") else "silent")
    assert reading.texts(1) == ["still here"]


@contextlib.contextmanager
def _mute(server: Running, room: str) -> Iterator[socket.socket]:
    """A follower that asks, and never reads. It takes some 2 KB without."""
    with connect(server.port, receive_buffer=2048) as mute:
        mute.sendall(f"GET /messages?room={room}&replay=none HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield mute


@contextlib.contextmanager
def _trickling(sockets: list[socket.socket]) -> Iterator[None]:
    """Meanwhile a byte a second is read from each, past TLS."""
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
    """The kernel drops whatever comes for this socket, and so acknowledges nothing: a filter that returns 0."""
    program = create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, addressof(program)))
