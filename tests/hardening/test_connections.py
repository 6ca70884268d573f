"""Issue 15, points 2, 4 and 5: silent connections and unfinished requests must not use up a server's files,
memory or loop, so that other clients are still served."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.certificate import Certificate
from tests.hardening.process import cpu_seconds, open_files, resident_bytes
from tests.observer import Observer
from tests.raw import JSON, Raw, ask, post, request
from tests.running import PATIENCE, Running, start_roomcast, wait_for

FILES = 1_024
CROWD = 1_100
"""More connections than files."""
NEWCOMERS = 60
MEGABYTE = 1024 * 1024
HEALTHZ = request("GET", "/healthz")
BODY = b'{"room": "developers", "text": "in spite of them"}'
FOLLOW = request("GET", "/messages?room=developers&replay=none")


def closed(server: Running, reason: str) -> float:
    return server.metric(f'roomcast_connections_closed_total{{reason="{reason}"}}')


_WATCHFUL = """
from roomcast.http import context
context.LOOK_SECONDS = 0.2
from roomcast.cli.main import main
main()
"""
"""A server that looks at its connections every 0.2 s, and not every five: after that it writes its warnings."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a server that may have 1,024 files open."""
    running: list[Running] = []

    def begin(
        *options: str, files: int = FILES, certificate: Certificate | None = None, watchful: bool = True
    ) -> Running:
        program = ("-c", _WATCHFUL) if watchful else ("-m", "roomcast")
        options = ("--no-access-log", *options)
        server = start_roomcast(tmp_path, *options, files=files, certificate=certificate, program=program)
        running.append(server)
        return server

    yield begin
    for server in running:
        assert "Traceback" not in server.said()
        server.kill()


@contextlib.contextmanager
def crowd(port: int, data: bytes, count: int = CROWD, *, answered: bool = False) -> Iterator[list[socket.socket]]:
    """Opens `count` connections that send `data` and then nothing more. `answered`: each reads the answer
    first."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            with contextlib.suppress(ConnectionError):
                one.sendall(data)
                if answered:
                    one.recv(4096)
            sockets.append(one)
        yield sockets


SILENT = {
    "nothing": (b"", False),
    "half a head": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", False),
    "half a body": (post(BODY)[:-5], False),
    "half a body in chunks": (
        request("POST", "/messages", JSON, "Transfer-Encoding: chunked") + b"4\r\nab",
        False,
    ),
    "no second request": (HEALTHZ, True),
    "an answer it does not read": (request("GET", "/messages?room=large", "Accept: application/json"), False),
}


@pytest.mark.parametrize("kind", SILENT)
def test_point_4_every_newcomer_is_answered_whatever_1100_others_do_not_send(
    start: Callable[..., Running], kind: str
) -> None:
    server = start()
    for _ in range(2 if "read" in kind else 0):
        assert server.post([{"room": "large", "text": "x" * 9_000}] * 100).status_code == 201
    data, answered = SILENT[kind]
    with Observer(server.port, "/messages?room=developers") as follower, contextlib.ExitStack() as stack:
        follower.until_live()
        stack.enter_context(crowd(server.port, data, answered=answered))
        statuses = [ask(server.port, HEALTHZ).status for _ in range(NEWCOMERS)]
        assert statuses == [200] * NEWCOMERS
        assert ask(server.port, request("GET", "/readyz")).status == 200
        assert ask(server.port, post(BODY)).status == 201
        assert follower.texts(1) == ["in spite of them"]
        assert closed(server, "files") > CROWD - FILES
        assert open_files(server.process.pid) < FILES - 20
        server.wait_until_it_says("warning: closed [0-9]+ connections that had waited longest")
        assert server.said().count("waited longest") <= 2  # one line for all of them
        cpu = cpu_seconds(server.process.pid)
        wait_for(lambda: ask(server.port, HEALTHZ).status == 200, "an answer")
        assert cpu_seconds(server.process.pid) - cpu < 0.5


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x40\x00\x01"], ids=["nothing", "half a handshake"])
def test_point_4_half_open_handshakes_of_tls_make_room_as_well(
    start: Callable[..., Running], tmp_path: Path, sent: bytes
) -> None:
    server = start(certificate=Certificate(tmp_path))
    with crowd(int(server.port), sent):
        assert [ask(server.port, HEALTHZ).status for _ in range(20)] == [200] * 20
        assert closed(server, "files") > CROWD - FILES
        assert open_files(server.process.pid) < FILES - 20
    wait_for(lambda: open_files(server.process.pid) < 50, "the end of the connections")
    assert server.metric('roomcast_connections{state="silent"}') == 0


def test_point_4_silent_connections_do_not_displace_one_that_was_used(start: Callable[..., Running]) -> None:
    server = start()
    with Raw(server.port) as publisher:
        for number in range(1, 4):
            publisher.send(post(BODY))
            assert publisher.answer().status == 201
            with crowd(server.port, b""):  # until connections were closed to make room
                wait_for(lambda: closed(server, "files") > number * (CROWD - FILES), "connections to be closed")  # noqa: B023
        publisher.send(post(BODY))
        assert publisher.answer().status == 201


def test_point_4_followers_cannot_take_the_files_of_publishers(start: Callable[..., Running]) -> None:
    server = start("--max-followers=100000", files=200)
    assert server.metric("roomcast_followers_limit") == 136
    with contextlib.ExitStack() as stack:
        followers = [stack.enter_context(Raw(server.port, FOLLOW)) for _ in range(250)]
        assert {follower.answer(to_head=True).status for follower in followers} == {200}
        assert ask(server.port, HEALTHZ).status == 200
        assert ask(server.port, post(BODY)).status == 201
        assert server.metric("roomcast_followers") == 136
        assert server.metric('roomcast_streams_ended_total{reason="overload"}') == 250 - 136


@pytest.mark.parametrize("over", ["plain", "TLS"])
def test_point_4_a_server_without_a_free_file_neither_spins_nor_stays_stuck(
    start: Callable[..., Running], tmp_path: Path, over: str
) -> None:
    """The file limit is lowered while the server runs, so that it cannot accept connections until its next
    check of all connections closes some."""
    server = start(certificate=Certificate(tmp_path) if over == "TLS" else None, watchful=False)
    pid, port = server.process.pid, int(server.port)
    with crowd(port, b"", 800), contextlib.ExitStack() as stack:
        wait_for(lambda: open_files(pid) > 800, "all connections")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (300, FILES))
        cpu = cpu_seconds(pid)
        for _ in range(50):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
        wait_for(lambda: open_files(pid) < 300, "some connections to be closed")
        assert cpu_seconds(pid) - cpu < 0.5
        assert [ask(server.port, HEALTHZ).status for _ in range(20)] == [200] * 20
        server.wait_until_it_says("warning: closed [0-9]+ connections that had waited longest")


def test_point_4_the_connections_of_an_address_are_limited(start: Callable[..., Running]) -> None:
    server = start("--max-connections-per-address=10", "--trusted-proxy=192.0.2.1")
    with contextlib.ExitStack() as stack:
        followers = [stack.enter_context(Raw(server.port, FOLLOW)) for _ in range(5)]
        assert {one.answer(to_head=True).status for one in followers} == {200}
        others = [stack.enter_context(Raw(server.port, HEALTHZ)) for _ in range(5)]
        assert {one.answer().status for one in others} == {200}
        for _ in range(15):
            refused = stack.enter_context(Raw(server.port))
            assert refused.rest() == b""  # closed without an answer: an EventSource comes back
        others.pop().socket.close()
        wait_for(lambda: _answers(server.port), "a place")
    wait_for(lambda: _answers(server.port), "the end of all connections")
    assert closed(server, "address") >= 15
    server.wait_until_it_says("refused [0-9]+ connections of addresses that already have 10")


def _answers(port: int) -> bool:
    with Raw(port) as one:
        with contextlib.suppress(ConnectionError):
            one.send(HEALTHZ)
        with contextlib.suppress(ConnectionError):
            return one.socket.recv(100).startswith(b"HTTP/1.1 200")
    return False


def test_point_4_a_trusted_proxy_is_not_counted(start: Callable[..., Running]) -> None:
    server = start("--max-connections-per-address=2")
    with crowd(server.port, HEALTHZ, 20, answered=True):
        assert ask(server.port, HEALTHZ).status == 200
        assert closed(server, "address") == 0


@pytest.mark.parametrize("size", [1_000_000, 60_000], ids=["by h11", "on the fast path"])
def test_point_5_bodies_without_their_last_byte_share_a_memory(start: Callable[..., Running], size: int) -> None:
    """400 bodies of 1 MiB took 433 MB."""
    server = start("--body-memory=16MiB", files=4096)
    half = post(b" " * size)[:-1]
    server.publish("x")
    before = resident_bytes(server.process.pid)
    for _ in range(3):
        with crowd(server.port, half, 20 * MEGABYTE // size):
            wait_for(lambda: ask(server.port, HEALTHZ).status == 200, "an answer")
    with crowd(server.port, half, 100 * MEGABYTE // size) as senders:
        assert ask(server.port, HEALTHZ).status == 200
        assert resident_bytes(server.process.pid) - before < 48 * MEGABYTE
        # A body that arrives now must not be refused because of those that are stuck.
        assert ask(server.port, post(BODY + b" " * 900_000)).status == 201
        count = closed(server, "memory")
        assert count >= len(senders) - 16 * MEGABYTE // size - 2
        assert senders[0].recv(100).startswith(b"HTTP/1.1 503")
        server.wait_until_it_says("the slowest senders: .* raise --body-memory")
    assert server.metric('roomcast_requests_total{method="POST",status="503"}') > 0
    wait_for(lambda: server.metric('roomcast_connections{state="silent"}') == 0, "the end of the connections")
    # The C library keeps blocks of 60 KB for later use.
    left = 10 * MEGABYTE if size > MEGABYTE / 2 else 24 * MEGABYTE
    assert resident_bytes(server.process.pid) - before < left, "it did not give back what it no longer needs"


def test_point_5_requests_behind_an_answer_that_is_not_read_share_it_too(
    start: Callable[..., Running],
) -> None:
    server = start("--body-memory=8MiB", files=4096)
    for _ in range(4):
        assert server.post([{"room": "large", "text": "x" * 9_000}] * 100).status_code == 201
    page = request("GET", "/messages?room=large&limit=1000", "Accept: application/json")
    with crowd(server.port, page, 300) as readers:
        before = resident_bytes(server.process.pid)
        for reader in readers:
            reader.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                reader.sendall(HEALTHZ * 8_000)
        wait_for(lambda: closed(server, "memory") > 100, "the slowest to be closed")
        assert resident_bytes(server.process.pid) - before < 48 * MEGABYTE


FIELDS = b"a:\r\n"
CHUNKED = request("POST", "/messages", JSON, "Transfer-Encoding: chunked")
LINES = {
    "a head of one field": HEALTHZ[:-2] + FIELDS * 15_000 + b"\r\n",
    "a head without an end": HEALTHZ[:-2] + FIELDS * 15_000,
    "a head of different fields": HEALTHZ[:-2] + b"".join(b"a%d:\r\n" % n for n in range(8_000)) + b"\r\n",
    "a trailer": CHUNKED + b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY) + FIELDS * 15_000 + b"\r\n",
}


@pytest.mark.parametrize("kind", LINES)
def test_point_2_a_head_of_15000_fields_is_refused_before_it_is_read(server: Running, kind: str) -> None:
    """Each head of 10,000 fields took 50 ms of the loop."""
    server.publish("x")
    cpu = cpu_seconds(server.process.pid)
    for _ in range(50):
        with Raw(server.port) as one:
            with contextlib.suppress(ConnectionError):
                one.send(LINES[kind])
            answer = one.rest()
        if answer:  # empty if the connection was reset, as bytes were left unread
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert b"128 fields" in answer
    assert cpu_seconds(server.process.pid) - cpu < 50 * 0.008


def test_point_2_as_many_fields_as_any_client_sends_are_read(server: Running) -> None:
    fields = [f"X-{number}: {number}" for number in range(127)]
    assert ask(server.port, request("GET", "/healthz", *fields)).status == 200
    assert ask(server.port, request("GET", "/healthz", *fields, "X: one more")).status == 431


def test_point_2_empty_lines_before_a_request_cost_no_more_than_their_bytes(server: Running) -> None:
    server.publish("x")
    cpu = cpu_seconds(server.process.pid)
    with Raw(server.port, b"\r\n" * 4_000_000 + HEALTHZ) as one:
        assert one.answer().status == 200
    assert cpu_seconds(server.process.pid) - cpu < 0.3
