"""All answers share one memory, wherever they wait. The tests measure the server's own count and its real
memory."""

from __future__ import annotations

import contextlib
import socket
from contextlib import ExitStack

import pytest

from tests.conftest import Serve
from tests.hardening.process import resident_bytes
from tests.raw import Raw, ask, post, request
from tests.running import Running, wait_for

MEGABYTES = 1024 * 1024
PAGE = request("GET", "/messages?room=large&limit=1000", "Accept: application/json")
FOLLOW = request("GET", "/messages?room=large", "Accept: text/event-stream")


class Unread(Raw):
    """A client with a small receive buffer that reads only when the test says so."""

    def __init__(self, port: int, data: bytes = b"") -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        self._received = b""
        self.socket.setblocking(False)
        if data:
            with contextlib.suppress(BlockingIOError):  # the server reads no more than it answers
                self.socket.send(data)


def filled(serve: Serve, *options: str, messages: int = 1000) -> Running:
    """A server whose room `large` has 4 MB."""
    server = serve("--no-access-log", *options)
    for _ in range(messages // 50):
        assert server.post([{"room": "large", "text": "x" * 4_000}] * 50).status_code == 201
    return server


def batch(size: int) -> bytes:
    """The body of a batch of `size` messages of about 1 KB each."""
    return b"[" + b",".join([b'{"room":"a","text":"%b"}' % (b"x" * 900)] * size) + b"]"


def held(server: Running) -> float:
    return server.metric("roomcast_answer_bytes")


LARGE = ("openapi", "page")
ANSWERS = {
    "openapi": request("GET", "/openapi.json"),
    "page": request("GET", "/roomcast.js"),
    "metrics": request("GET", "/metrics"),
    "healthz": request("GET", "/healthz"),
    "not there": request("GET", "/nowhere"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_to_a_pipeline_that_are_not_taken_are_counted_and_bounded(serve: Serve, name: str) -> None:
    server = serve("--answer-memory=1MiB", "--no-access-log")
    before = resident_bytes(server.process.pid)
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Unread(server.port, ANSWERS[name] * 2000))
        wait_for(lambda: held(server) > (0.5 * MEGABYTES if name in LARGE else 0), "answers that wait")
        assert held(server) <= MEGABYTES
        assert resident_bytes(server.process.pid) - before < 40 * MEGABYTES
        assert server.get("/healthz").status_code == 200
        server.publish("still here")
    wait_for(lambda: held(server) < 5000, "the memory to be released")


def test_lists_of_rooms_that_are_not_taken_are_counted(serve: Serve) -> None:
    server = serve("--answer-memory=2MiB", "--no-access-log")
    for first in range(0, 2000, 1000):
        rooms = [f"{first + number:04}" + "x" * 120 for number in range(1000)]
        assert server.post([{"room": room, "text": "x"} for room in rooms]).status_code == 201
    with ExitStack() as stack:
        listing = request("GET", "/rooms")
        lists = [stack.enter_context(Unread(server.port, listing)) for _ in range(10)]
        statuses = [one.answer(to_head=True).status for one in lists]
        assert statuses.count(200) == 2
        assert statuses.count(503) == 8
        server.publish("still here")
    wait_for(lambda: ask(server.port, request("GET", "/rooms?limit=1")).status == 200, "a list")


def test_answers_to_batches_that_are_not_taken_are_counted_before_anything_is_stored(serve: Serve) -> None:
    server = serve("--answer-memory=4MiB", "--max-bytes=100MB", "--no-access-log")
    with ExitStack() as stack:
        connections = []
        for _ in range(12):
            connections.append(stack.enter_context(Unread(server.port)))
            connections[-1].send(post(batch(1000)))
        statuses = [connection.answer(to_head=True).status for connection in connections]
        refused = statuses.count(503)
        assert refused >= 6
        assert server.metric("roomcast_messages_published_total") == 1000 * statuses.count(201)
        assert server.metric('roomcast_refusals_total{reason="memory"}') >= refused
        server.publish("a single one is stored")
    wait_for(lambda: ask(server.port, post(batch(1000))).status == 201, "a batch")


def test_a_follow_at_the_budget_is_told_when_to_come_back_and_pages_cannot_bring_that_about(serve: Serve) -> None:
    server = filled(serve, "--answer-memory=8MiB")
    with ExitStack() as stack:
        pages = [stack.enter_context(Unread(server.port, PAGE)) for _ in range(10)]
        assert 503 in [page.answer(to_head=True).status for page in pages]
        assert stack.enter_context(Raw(server.port, FOLLOW)).until(b"\n\n")
        for size in (1000, 100, 60):
            while True:
                one = stack.enter_context(Unread(server.port))
                one.send(post(batch(size)))
                if one.answer(to_head=True).status == 503:
                    break
        with Raw(server.port, FOLLOW) as late:
            assert b"retry: " in late.rest()
            assert b"\nid:" not in late.rest()
        assert server.metric('roomcast_streams_ended_total{reason="overload"}') >= 1


def test_the_memory_of_all_followers_that_take_nothing_is_bounded(serve: Serve) -> None:
    server = filled(serve, "--answer-memory=4MiB", "--slow-after=1h")
    ids = [m["id"] for m in ask_page(server)]
    before = resident_bytes(server.process.pid)
    with ExitStack() as stack:
        for id in ids[:400]:
            follow = FOLLOW.replace(b"Accept", b"Last-Event-ID: %b\r\nAccept" % id.encode())
            stack.enter_context(Unread(server.port, follow))
        wait_for(lambda: server.metric('roomcast_streams_ended_total{reason="overload"}') > 50, "an end")
        assert held(server) <= 4 * MEGABYTES
        assert resident_bytes(server.process.pid) - before < 24 * MEGABYTES
    wait_for(lambda: held(server) == 0, "the memory to be released")


def test_a_burst_that_many_followers_do_not_take_is_held_once(serve: Serve) -> None:
    server = serve("--answer-memory=1MiB", "--no-access-log")
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(Unread(server.port, FOLLOW))
        wait_for(lambda: server.metric("roomcast_followers") == 200, "the followers")
        for _ in range(8):
            server.post([{"room": "large", "text": "x" * 4_000}] * 50)
        wait_for(lambda: server.metric("roomcast_followers_behind") == 200, "all followers to be behind")
        assert server.metric('roomcast_streams_ended_total{reason="overload"}') == 0
        assert held(server) <= 0.5 * MEGABYTES


def ask_page(server: Running) -> list[dict[str, str]]:
    answer = server.get("/messages?room=large&limit=1000", headers={"Accept": "application/json"})
    messages: list[dict[str, str]] = answer.json()["messages"]
    return messages
