"""Sockets that systemd has opened and passes on. A small program passes them here in the same way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from roomcast.model.errors import CannotStart
from roomcast.serve import activation
from roomcast.serve.activation import passed_sockets
from tests.observer import Observer
from tests.running import PATIENCE, Running

_PASS = """
import fcntl, os, sys
passed = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 100) for one in sys.argv[1].split(",")]
for number, one in enumerate(passed, 3):
    os.dup2(one, number)
os.environ |= {"LISTEN_FDS": str(len(passed)), "LISTEN_PID": str(os.getpid())}
os.execv(sys.executable, [sys.executable, "-m", "roomcast", "serve", "--log=sqlite:x.db", *sys.argv[2:]])
"""
"""Passes descriptors as systemd does: from 3 on, with their count and the process that they are for. First they
are moved out of the way, so that none is overwritten."""


@contextmanager
def opened() -> Iterator[socket.socket]:
    """A listening socket, as systemd opens it for `ListenStream=`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def command(sockets: Sequence[socket.socket], *options: str) -> tuple[list[str], list[int]]:
    numbers = [one.fileno() for one in sockets]
    return [sys.executable, "-c", _PASS, ",".join(map(str, numbers)), *options], numbers


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a server with these sockets and options; every server is ended with the test."""
    servers = []

    def start(sockets: Sequence[socket.socket], *options: str) -> Running:
        line, numbers = command(sockets, *options)
        running = Running(line, tmp_path, pass_fds=numbers)
        servers.append(running)
        running.wait_until_it_says("  log     ")
        running.port = sockets[0].getsockname()[1]
        return running

    yield start
    for server in servers:
        server.kill()


@pytest.mark.parametrize("options", [(), ("--workers=2",)], ids=["one process", "two workers"])
def test_no_connection_is_refused_while_the_server_restarts(
    options: Sequence[str], start: Callable[..., Running]
) -> None:
    with opened() as listener:
        server = start([listener], *options)
        assert f"http://127.0.0.1:{server.port}/messages" in server.said()
        with Observer(server.port, "/messages?room=developers") as follower:
            follower.until_live()
            server.publish("before")
            assert follower.texts(1) == ["before"]
            assert server.terminate() == 0
            assert follower.next_or_end() is None
        waiting = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        with waiting:
            waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            server = start([listener], *options)
            assert waiting.recv(12) == b"HTTP/1.1 200", "it waited in the kernel"
        assert server.terminate() == 0


def test_all_sockets_are_served_and_a_socket_file_stays(start: Callable[..., Running], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with opened() as port, socket.socket(socket.AF_UNIX) as file:
        file.bind(str(path))
        file.listen()
        server = start([port, file], "--open")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.post("http://localhost/rooms/developers", content="x").status_code == 201
        assert server.get("/messages?room=developers", headers={"Accept": "application/json"}).json()["messages"]
        assert server.terminate() == 0
        assert path.exists(), "systemd removes it"


def refused(folder: Path, sockets: Sequence[socket.socket], *options: str) -> str:
    line, numbers = command(sockets, *options)
    done = subprocess.run(
        line, cwd=folder, pass_fds=numbers, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    return done.stderr


def test_an_option_that_the_sockets_replace_is_refused(tmp_path: Path) -> None:
    with opened() as listener:
        said = refused(tmp_path, [listener], "--port=8080")
    assert said == "roomcast: systemd passes the sockets to listen on: leave out --port\n"


def test_a_socket_that_others_can_reach_needs_rights(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as listener:
        assert "0.0.0.0 can be reached by others" in refused(tmp_path, [listener])
    with socket.socket(socket.AF_UNIX) as file:
        file.bind(str(tmp_path / "socket"))
        file.listen()
        assert f"unix:{tmp_path}/socket can be reached by others" in refused(tmp_path, [file])


def test_a_socket_that_does_not_listen_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert "descriptor 3 from systemd is not a listening stream socket" in refused(tmp_path, [datagrams])
    with opened() as listener, socket.create_connection(listener.getsockname()) as connected:
        assert "use ListenStream= and Accept=no" in refused(tmp_path, [connected])


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "some", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_descriptors_for_another_process_are_left_alone(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert passed_sockets(30.0) == []
    assert not any(name in os.environ for name in variables), "children must not find them either"


def test_a_descriptor_that_is_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened() as listener:
        closed = listener.fileno()
    monkeypatch.setattr(activation, "_FIRST", closed)
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    with pytest.raises(CannotStart, match=f"descriptor {closed} from systemd is not a listening"):
        passed_sockets(30.0)
