"""`--workers`: one server of several processes, seen from outside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

import httpx
import pytest

from tests.certificate import Certificate
from tests.conftest import Serve
from tests.mongodb.database import SERVERS, MongoDB
from tests.observer import Observer
from tests.running import PATIENCE, Running, start_roomcast, wait_for
from tests.workers import each_worker, is_gone, kill, processes, wait_until_another

ROOT = Path(__file__).parents[2]
ROOM = "/messages?room=developers"
SERVE = (sys.executable, "-m", "roomcast", "serve", "--workers=2")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two workers, for tests that do not change it."""
    server = start_roomcast(tmp_path_factory.mktemp("workers"), "--workers=2")
    yield server
    server.kill()


def texts(server: Running) -> list[str]:
    """The texts of the room's messages."""
    page = server.get(ROOM, headers={"Accept": "application/json"}).json()
    return [message["text"] for message in page["messages"]]


def test_a_message_posted_to_one_worker_reaches_the_followers_of_all(shared: Running) -> None:
    with each_worker(shared) as workers, contextlib.ExitStack() as stack:
        observers = [
            stack.enter_context(Observer(shared.port, "/messages?room=all&replay=none")) for _ in range(8)
        ]
        for observer in observers:
            observer.until_live()
        for number, client in enumerate(workers):
            assert client.post("/rooms/all", content=str(number)).status_code == 201
        for observer in observers:
            assert [observer.next().json["text"] for _ in workers] == ["0", "1"]


def test_an_idempotency_key_holds_at_all_workers(shared: Running) -> None:
    key = {"Idempotency-Key": "k"}
    with each_worker(shared) as workers:
        answers = [client.post("/rooms/keys", content="x", headers=key) for client in workers]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()


def test_the_banner_is_printed_once_and_every_line_names_its_worker(shared: Running) -> None:
    with each_worker(shared):
        said = shared.said()
    assert said.count("  post ") == 1
    assert "  workers 2\n" in said
    lines = [line for line in said.splitlines() if " GET " in line]
    assert lines
    assert all(re.match(r"\S+Z \[[12]\] ", line) for line in lines)


def test_a_port_or_log_of_another_server_is_refused_in_a_sentence(shared: Running, tmp_path: Path) -> None:
    status, said = refused(tmp_path, f"--port={shared.port}", "--log=memory:")
    assert (status, said.count("\n")) == (1, 1)
    assert f"port {shared.port} on localhost is taken by another program" in said
    status, said = refused(tmp_path, "--port=0", f"--log=sqlite:{shared.folder}/test.db")
    assert (status, said.count("\n")) == (1, 1)
    assert "belongs to another running server" in said


def test_a_bad_number_of_workers_is_refused_in_a_sentence(tmp_path: Path) -> None:
    status, said = refused(tmp_path, "--workers=many")
    assert (status, said) == (2, "roomcast: --workers must be a whole number from 1 to 512, or auto, not 'many'\n")


def refused(folder: Path, *options: str) -> tuple[int, str]:
    command = [*SERVE, "--page-port=0", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervisor_or_to_all_drains_all_and_ends_with_0(serve: Serve, number: int) -> None:
    """A terminal and systemd send it to all processes at once."""
    server = serve("--workers=2")
    server.publish("before")
    with contextlib.ExitStack() as stack:
        observers = [stack.enter_context(Observer(server.port, ROOM)) for _ in range(6)]
        for observer in observers:
            observer.until_live()
        if number == signal.SIGINT:
            for pid in processes(server).values():
                os.kill(pid, number)
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE) == 0
        for observer in observers:
            assert observer.next_or_end() is None
            assert observer.clean_end
            assert observer.retry
            assert observer.retry >= 2_000
    assert texts(serve("--workers=2", "--port", str(server.port))) == ["before"]


def test_a_second_signal_ends_all_at_once(serve: Serve) -> None:
    server = serve("--workers=2")
    pids = processes(server)
    os.kill(pids["1"], signal.SIGSTOP)  # it will not drain
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: is_gone(pids["2"]), "the other to drain")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 128 + signal.SIGTERM
    wait_for(lambda: all(is_gone(pid) for pid in pids.values()), "all to end")


def may_read(server: Running, room: str) -> list[bool]:
    """For each worker, whether strangers may read the room."""
    page = {"Accept": "application/json"}
    with each_worker(server) as workers:
        return [client.get(f"/messages?room={room}", headers=page).status_code == 200 for client in workers]


def test_all_processes_take_over_a_reload_or_none_does(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "roomcast.toml"

    def write(room: str, extra: str = "") -> None:
        file.write_text(f'{extra}\n[anonymous]\nread = ["{room}"]\npublish = ["*"]\n')

    write("one")
    server = serve("--workers=2", f"--config={file}")
    assert may_read(server, "one") == [True, True]
    write("two")
    server.process.send_signal(signal.SIGHUP)
    server.wait_until_it_says("read again: ")
    wait_for(lambda: may_read(server, "two") == [True, True], "the new rights")
    assert may_read(server, "one") == [False, False]
    write("one", "nonsense = 1")
    server.process.send_signal(signal.SIGHUP)
    server.wait_until_it_says("the configuration stays as it was: ")
    assert may_read(server, "two") == [True, True]
    wait_until_another(server, "1", kill(server, "1"))
    assert may_read(server, "two") == [True, True], "a successor has what is in force"


def test_new_room_rules_reach_the_log_process_and_all_workers(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "roomcast.toml"
    file.write_text("max_messages = 1000\n")
    server = serve("--workers=2", f"--config={file}")
    for number in range(5):
        server.publish(str(number))
    file.write_text('max_messages = 1000\n[[room]]\nmatch = "dev*"\nmax_messages = 2\n')
    server.process.send_signal(signal.SIGHUP)
    server.wait_until_it_says("read again: ")
    wait_for(lambda: texts(server) == ["3", "4"], "the rule")
    with each_worker(server) as workers:
        for client in workers:
            assert client.get("/rooms").json()["rooms"][0]["max_messages"] == 2


def test_tls_is_served_by_all(serve: Serve, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    server = serve("--workers=2", certificate=certificate)
    for _ in range(6):
        assert httpx.get(f"{server.url}/healthz", verify=certificate.context).status_code == 200


def test_a_socket_file_is_served_by_all_and_goes_with_them(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = Running([*SERVE, f"--host=unix:{path}", "--log=memory:", "--open"], tmp_path)
    try:
        server.wait_until_it_says("  workers 2")
        for _ in range(6):
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
                assert client.post("http://localhost/rooms/a", content="x").status_code == 201
        assert server.terminate() == 0
        assert not path.exists()
    finally:
        server.kill()


@pytest.mark.parametrize("name", ["1", "log"])
def test_a_killed_process_is_back_within_two_seconds(serve: Serve, name: str) -> None:
    server = serve("--workers=2")
    server.publish("before")
    born = time.monotonic()
    wait_for(lambda: time.monotonic() > born + 1, "it to have lived long enough to be started again at once")
    pid = kill(server, name)
    began = time.monotonic()
    wait_until_another(server, name, pid)

    wait_for(lambda: all(is_published(server.port) for _ in range(8)), "it to serve again")
    assert time.monotonic() - began < 2
    server.wait_until_it_says("was ended by SIGKILL and is started again")


def is_published(port: int) -> bool:
    """Whether a publish over a connection of its own is stored."""
    connection = HTTPConnection("localhost", port, timeout=2)
    try:
        connection.request("POST", "/rooms/developers", "x")
        return connection.getresponse().status == 201
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def test_no_process_outlives_the_supervisor_and_the_next_server_comes_up_at_once(serve: Serve) -> None:
    server = serve("--workers=2")
    server.publish("before")
    pids = processes(server).values()
    os.kill(list(pids)[-1], signal.SIGSTOP)
    server.process.kill()
    again = serve("--workers=2", "--port", str(server.port))
    assert all(is_gone(pid) for pid in pids)
    assert texts(again) == ["before"]


def test_while_the_log_cannot_be_opened_again_followers_stay_and_publishers_are_told_to_wait(serve: Serve) -> None:
    server = serve("--workers=2")
    server.publish("before")
    with Observer(server.port, ROOM) as observer, (server.folder / "test.db.lock").open("r+") as lock:
        observer.until_live()
        kill(server, "log")
        wait_for(lambda: is_taken(lock), "its lock")
        server.wait_until_it_says(
            "the log process cannot start, and is retried every second: .* belongs to another running server"
        )
        answer = server.post({"text": "x", "room": "developers"})
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert server.get("/readyz").status_code == 503
        fcntl.flock(lock, fcntl.LOCK_UN)
        wait_for(lambda: server.post({"text": "y", "room": "developers"}).status_code == 201, "the log")
        assert observer.next().json["text"] == "y"


def is_taken(lock: IO[str]) -> bool:
    """Takes the lock if it is free; returns whether somebody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_a_new_epoch_begins_once_and_not_with_each_log_process(serve: Serve) -> None:
    server = serve("--workers=2", "--new-epoch")
    epoch = str(server.publish("before")["id"]).partition("-")[0]
    wait_until_another(server, "log", kill(server, "log"))
    wait_for(lambda: is_published(server.port), "the next log process")
    assert str(server.publish("after")["id"]).partition("-")[0] == epoch


@pytest.mark.parametrize("mongo", SERVERS, indirect=True)
def test_a_log_that_servers_share_is_opened_by_each_worker(mongo: MongoDB, tmp_path: Path) -> None:
    env = {"ROOMCAST_TEST_SERVER": mongo.kind, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    program = ("-m", "tests.mongodb.serve")
    server = start_roomcast(tmp_path, "--workers=2", f"--log={mongo.url()}", env=env, program=program)
    try:
        with each_worker(server) as workers:
            for number, client in enumerate(workers):
                assert client.post("/rooms/developers", content=str(number)).status_code == 201
            for client in workers:
                page = client.get(ROOM, headers={"Accept": "application/json"}).json()
                assert [message["text"] for message in page["messages"]] == ["0", "1"]
            assert 'roomcast_worker_cpu_seconds_total{worker="2"}' in workers[0].get("/metrics").text
        wait_until_another(server, "log", kill(server, "log"))
        assert server.publish("2")["text"] == "2", "it owns no log"
        assert server.terminate() == 0
    finally:
        server.kill()
