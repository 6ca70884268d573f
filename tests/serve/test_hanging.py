"""A process that hangs is killed, and another one takes its place."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from roomcast.serve.workers.child import Child
from roomcast.serve.workers.orders import Channel, Order, Ping, Report
from roomcast.serve.workers.watch import MAX_UNANSWERED, find_hung
from tests import watchful
from tests.running import PATIENCE, Running, start_roomcast, wait_for
from tests.workers import kill, processes, wait_until_another


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    server = start_roomcast(tmp_path_factory.mktemp("hanging"), "--workers=2", program=watchful.PROGRAM)
    yield server
    server.kill()


def stopped(server: Running, name: str) -> int:
    """Stops a process; returns its id once it stands still."""
    pid = kill(server, name, signal.SIGSTOP)
    state = Path(f"/proc/{pid}/stat")
    wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", "it to stand still")
    return pid


def test_connections_that_wait_for_a_hung_worker_are_served_by_its_successor(server: Running) -> None:
    pid = stopped(server, "1")
    with ExitStack() as stack:
        waiting = []
        for number in range(16):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
            one.sendall(b"GET /healthz?waited=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
            waiting.append(one)
        assert [one.recv(12) for one in waiting] == [b"HTTP/1.1 200"] * 16
    server.wait_until_it_says(r"\[1\] \S+ GET /healthz\?waited=")
    assert processes(server)["1"] != pid
    assert f"worker 1 (process {pid}) has not answered for 1 s: it is killed" in server.said()
    assert server.said().count(f"(process {pid})") == 1


def test_a_hung_log_process_is_replaced_and_its_stored_messages_are_there(server: Running) -> None:
    before = server.publish("before")
    pid = stopped(server, "log")
    wait_until_another(server, "log", pid)
    wait_for(lambda: server.post({"room": "developers", "text": "after"}).status_code == 201, "the next one")
    page = server.get("/messages?room=developers", headers={"Accept": "application/json"}).json()["messages"]
    assert page[0]["id"] == before["id"]
    server.wait_until_it_says(rf"the log process \(process {pid}\) has not answered for 1 s: it is killed")


def test_a_process_that_answers_is_not_replaced(server: Running) -> None:
    """After several looks, all others still run."""
    pids = processes(server)
    pid = stopped(server, "2")
    wait_until_another(server, "2", pid)
    assert {name: now for name, now in processes(server).items() if name != "2"} == {
        name: then for name, then in pids.items() if name != "2"
    }


@pytest.fixture
def child() -> Iterator[tuple[Child, Channel[Report, Order]]]:
    """A process that has started, and its end of the channel."""
    ours, theirs = Channel.pair()
    child = Child(1, os.getpid(), ours)
    child.ready = True
    yield child, theirs
    ours.close()
    theirs.close()


def test_a_process_counts_as_hung_after_some_pings_in_a_row_without_an_answer(
    child: tuple[Child, Channel[Report, Order]],
) -> None:
    one, theirs = child
    for _ in range(MAX_UNANSWERED - 1):
        assert find_hung([one]) == []
    one.unanswered = 0  # as after an answer
    assert [find_hung([one]) for _ in range(MAX_UNANSWERED)] == [[]] * MAX_UNANSWERED
    assert find_hung([one]) == [one]
    assert find_hung([one]) == [], "it is told once"
    assert [order for order, _ in theirs.receive()] == [Ping()] * (2 * MAX_UNANSWERED - 1)


def test_a_process_that_starts_may_take_its_time(child: tuple[Child, Channel[Report, Order]]) -> None:
    one, theirs = child
    one.ready = False
    assert [find_hung([one]) for _ in range(MAX_UNANSWERED + 1)] == [[]] * (MAX_UNANSWERED + 1)
    one.channel.close()
    assert list(theirs.receive()) == []
