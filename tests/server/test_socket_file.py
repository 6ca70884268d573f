"""A server that listens on a socket file, and who its clients are."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from roomcast.serve.socket_file import bind_unix
from tests.certificate import Certificate
from tests.conftest import require
from tests.running import PATIENCE, Running, wait_for

Start = Callable[..., Running]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "roomcast.sock"


@pytest.fixture
def start(tmp_path: Path, path: Path) -> Iterator[Start]:
    """Starts a server on the socket file, and waits until it answers."""
    started: list[Running] = []

    def begin(*options: str) -> Running:
        command = [
            sys.executable,
            "-m",
            "roomcast",
            "serve",
            f"--host=unix:{path}",
            "--open",
            "--log=memory:",
            *options,
        ]
        started.append(Running(command, tmp_path))
        started[-1].wait_until_it_says(r"^  log ")
        return started[-1]

    yield begin
    for server in started:
        assert "Traceback" not in server.said()
        server.end()


def ask(path: Path, target: str = "/healthz", **fields: str) -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=PATIENCE) as client:
        return client.get(f"http://localhost{target}", headers=fields)


def _fails(folder: Path, *options: str) -> str:
    """The error of a server that does not start."""
    command = [sys.executable, "-m", "roomcast", "serve", "--open", "--log=memory:", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1, done.stderr
    [line] = done.stderr.splitlines()
    return line


def test_the_banners_commands_publish_and_follow(start: Start, path: Path) -> None:
    require("curl")
    server = start()
    post, follow = (
        server.wait_until_it_says(rf"^  {name} +(curl --unix-socket .*)$")[1] for name in ("post", "follow")
    )
    assert "  look  " not in server.said()
    done = subprocess.run(f"{post} -sS", shell=True, capture_output=True, timeout=PATIENCE, check=True)
    assert json.loads(done.stdout)["text"] == "was geht ab in buxtehude?"
    heard = subprocess.run(f"{follow} -sS -m 1", shell=True, capture_output=True, timeout=PATIENCE, check=False)
    assert heard.returncode == 28, heard.stderr
    assert heard.stdout.count(b"buxtehude") == 1


def test_the_owner_and_group_of_the_socket_file_may_use_it_and_the_server_removes_it(
    start: Start, path: Path
) -> None:
    before = os.umask(0)
    try:
        server = start()
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert server.terminate() == 0
    assert not path.exists()


def test_the_umask_is_for_the_socket_file_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        listening = bind_unix(str(tmp_path / "x.sock"))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    for one in listening.sockets:
        one.close()
    listening.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_socket_file_of_a_killed_server_is_replaced(start: Start, path: Path) -> None:
    start().kill()
    assert path.exists()
    start()
    assert ask(path).status_code == 200


def test_the_file_of_a_living_server_is_refused_and_kept(start: Start, path: Path, tmp_path: Path) -> None:
    start()
    said = _fails(tmp_path, f"--host=unix:{path}")
    assert said == (
        f"roomcast: another program listens on {path}: stop it, or name another path in --host unix:PATH"
    )
    assert ask(path).status_code == 200


def test_a_file_that_is_no_socket_is_never_touched(path: Path, tmp_path: Path) -> None:
    path.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(path)
    for name in (path, link):
        said = _fails(tmp_path, f"--host=unix:{name}")
        assert said == f"roomcast: {name} exists and is not a socket: name another path in --host unix:PATH"
    assert path.read_text() == "precious"
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "No such file or directory"), ("no/such/folder", "No such file or directory"), ("x" * 200, "too long")],
)
def test_an_invalid_path_is_named_in_a_sentence(tmp_path: Path, name: str, words: str) -> None:
    said = _fails(tmp_path, f"--host=unix:{name}")
    assert said.startswith(f"roomcast: cannot listen on unix:{name} (")
    assert words in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--port", "--page-port"])
def test_a_port_beside_a_socket_file_is_refused(path: Path, tmp_path: Path, option: str) -> None:
    said = _fails(tmp_path, f"--host=unix:{path}", f"{option}=8080")
    assert said == f"roomcast: a socket file has no ports: leave out {option}, or give it 0"
    assert not path.exists()


def test_a_server_whose_log_cannot_be_opened_leaves_no_file(path: Path, tmp_path: Path) -> None:
    _fails(tmp_path, f"--host=unix:{path}", "--log=sqlite:no/such/folder/x.db")
    assert not path.exists()


def test_a_file_that_another_server_has_put_there_stays(start: Start, path: Path) -> None:
    first = start()
    path.unlink()
    start()
    assert first.terminate() == 0
    assert ask(path).status_code == 200


def test_the_access_log_says_unix_or_what_a_proxy_says(start: Start, path: Path) -> None:
    server = start()
    ask(path, "/healthz")
    ask(path, "/readyz", **{"X-Forwarded-For": "6.6.6.6, 203.0.113.9"})
    server.wait_until_it_says(r"^\S+ unix GET /healthz 200 ")
    server.wait_until_it_says(r"^\S+ 203\.0\.113\.9 GET /readyz 200 ")


def test_a_client_that_has_bound_its_own_end_is_unix_as_well(start: Start, path: Path, tmp_path: Path) -> None:
    server = start()
    with socket.socket(socket.AF_UNIX) as client:
        client.bind(str(tmp_path / "client"))
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
    server.wait_until_it_says(r"^\S+ unix GET /healthz 200 ")


def test_a_slow_follower_of_a_socket_file_is_served_as_over_a_port(start: Start, path: Path) -> None:
    start("--slow-after=1", "--heartbeat=1")
    with contextlib.ExitStack() as stack:
        slow = stack.enter_context(socket.socket(socket.AF_UNIX))
        slow.connect(str(path))
        slow.sendall(b"GET /messages?room=a HTTP/1.1\r\nHost: x\r\n\r\n")
        client = stack.enter_context(httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=PATIENCE))
        for _ in range(40):
            answer = client.post("http://localhost/messages", json={"room": "a", "text": "x" * 20_000})
            assert answer.status_code == 201
        ended = 'roomcast_streams_ended_total{reason="slow"} 1'
        wait_for(lambda: ended in client.get("http://localhost/metrics").text, "its end")


def test_a_stop_ends_streams_with_a_retry_delay(start: Start, path: Path) -> None:
    server = start()
    with socket.socket(socket.AF_UNIX) as follower:
        follower.settimeout(PATIENCE)
        follower.connect(str(path))
        follower.sendall(b"GET /messages?room=a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert follower.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.terminate() == 0
        heard = b""
        while data := follower.recv(4096):
            heard += data
    assert b"retry: " in heard
    assert heard.endswith(b"0\r\n\r\n")


def test_tls_works_over_it_too(start: Start, path: Path, tmp_path: Path) -> None:
    require("curl")
    certificate = Certificate(tmp_path)
    server = start(*certificate.options)
    command = server.wait_until_it_says(r"^  post +(curl .*)$")[1]
    assert f"--unix-socket {shlex.quote(str(path))} " in command
    done = subprocess.run(
        [*shlex.split(command), "-sS", "--cacert", certificate.cert], capture_output=True, timeout=PATIENCE
    )
    assert json.loads(done.stdout)["room"] == "developers", done.stderr
