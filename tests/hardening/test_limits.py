"""More connections than a server can have, and many at once."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.hardening.process import cpu_seconds, open_files
from tests.hardening.sink import build_sink, run_sink
from tests.observer import Observer
from tests.raw import Raw, post
from tests.running import PATIENCE, Running, start_roomcast, wait_for

_FILES = 150
_CROWD = 10_000


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Running]:
    """A server that may have 150 files open."""
    server = start_roomcast(tmp_path, "--no-access-log", files=_FILES)
    yield server
    server.kill()


def test_more_connections_than_files_make_room_for_each_other_and_hold_up_nobody(limited: Running) -> None:
    pid = limited.process.pid
    limited.get("/healthz")  # this connection, the follower's and the publisher's are older than the idle ones
    with contextlib.ExitStack() as stack:
        follower = stack.enter_context(Observer(limited.port, "/messages?room=developers"))
        follower.until_live()
        publisher = stack.enter_context(Raw(limited.port))
        _publish(publisher, follower)
        idle = [stack.enter_context(_connected(limited)) for _ in range(3 * _FILES)]
        wait_for(lambda: _closed(idle) > 2 * _FILES, "the connections beyond the limit to be closed")
        assert open_files(pid) > _FILES - 50
        began, cpu = time.monotonic(), cpu_seconds(pid)
        while time.monotonic() < began + 2:
            _publish(publisher, follower)
            assert limited.metric("roomcast_followers") == 1
            time.sleep(0.05)
        assert cpu_seconds(pid) - cpu < 1, "the server was busy with connections that it cannot keep"
        assert _closed(idle) < len(idle), "all idle connections were closed"
        assert _closed(idle[-50:]) == 0, "the newest connections were closed"
        limited.wait_until_it_says("connections that had waited longest")
    wait_for(lambda: open_files(pid) < _FILES // 2, "the connections to end")
    with Observer(limited.port, "/messages?room=developers") as again:
        assert len(again.until_live()) == limited.metric("roomcast_log_newest") + 1


def test_more_followers_than_files_are_asked_to_come_back_later(limited: Running) -> None:
    limit = int(limited.metric("roomcast_followers_limit"))
    with contextlib.ExitStack() as stack:
        followers = [
            stack.enter_context(Observer(limited.port, "/messages?room=developers")) for _ in range(2 * _FILES)
        ]
        firsts = [follower.next_or_end() for follower in followers]
        assert [first is not None for first in firsts] == [n < limit for n in range(2 * _FILES)]
        assert all(f.clean_end and f.retry and 2_000 <= f.retry <= 10_000 for f in followers[limit:])
        assert len({follower.retry for follower in followers[limit:]}) > 100
        with Raw(limited.port, post(b'{"room": "developers", "text": "for those who came in"}')) as publisher:
            assert publisher.answer().status == 201  # publishers still find a free file
        assert all(follower.texts(1) == ["for those who came in"] for follower in followers[:limit])


def test_10_000_that_come_back_at_once_are_all_live_and_lose_nothing(serve: Serve, tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 1.2 * _CROWD, "raise the limit of open files: ulimit -n"
    server = serve("--no-access-log")
    run_sink(build_sink(tmp_path), server.port, followers=_CROWD, behind=100, batch=4_000, timeout=60)
    assert server.metric("roomcast_streams_opened_total") == 2 * _CROWD
    assert server.metric("roomcast_log_reads_total") == 0
    assert server.metric('roomcast_gaps_total{reason="trimmed"}') == 0


def _connected(server: Running) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
    connection.setblocking(False)
    return connection


def _closed(connections: Sequence[socket.socket]) -> int:
    return sum(map(_is_closed, connections))


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _publish(publisher: Raw, follower: Observer) -> None:
    publisher.send(post(b'{"room": "developers", "text": "still here"}'))
    assert publisher.answer().status == 201
    assert follower.texts(1) == ["still here"]
