"""Answers share one memory: pages that nobody reads neither fill it nor delay other clients."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from tests.conftest import Serve
from tests.hardening.process import resident_bytes
from tests.raw import Raw, ask, request
from tests.running import Running, wait_for

PAGE = request("GET", "/messages?room=large&limit=1000", "Accept: application/json")
MEGABYTES = 1024 * 1024


def filled(serve: Serve) -> Running:
    """A server with a page of 4 MB, whose answers may hold 16 MiB together."""
    server = serve("--answer-memory=16MiB", "--no-access-log")
    for _ in range(20):
        batch = [{"room": "large", "text": "x" * 4_000}] * 50
        assert server.post(batch).status_code == 201
    return server


def test_pages_that_nobody_reads_hold_a_bounded_memory_and_hold_up_nobody(serve: Serve) -> None:
    server = filled(serve)
    assert ask_page(server) == 1000
    before = resident_bytes(server.process.pid)
    with ExitStack() as stack:
        unread = [stack.enter_context(Raw(server.port, PAGE)) for _ in range(200)]
        assert server.get("/readyz").status_code == 200
        statuses = [one.answer(to_head=True).status for one in unread]
        assert statuses.count(200) >= 2
        assert statuses.count(503) > 100
        refused = next(one for one, status in zip(unread, statuses, strict=True) if status == 503)
        assert refused is not None
        assert server.get("/readyz").status_code == 200
        server.publish("still here", "other")
        assert resident_bytes(server.process.pid) - before < 64 * MEGABYTES
    wait_for(lambda: ask(server.port, PAGE.replace(b"1000", b"1")).status == 200, "a page")
    assert ask_page(server) == 1000


def test_a_client_that_finds_no_memory_is_told_when_to_come_back(serve: Serve, tmp_path: Path) -> None:
    server = filled(serve)
    with ExitStack() as stack:
        for _ in range(30):
            one = stack.enter_context(Raw(server.port, PAGE))
            answer = one.answer(to_head=True)
            if answer.status == 503:
                break
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_connection_is_kept_behind_a_page_that_its_client_took_slowly(serve: Serve) -> None:
    server = filled(serve)
    for _ in range(3):
        assert ask_page(server) == 1000
        assert server.get("/healthz").status_code == 200


def test_pages_whose_clients_hang_up_at_once_leave_nothing(serve: Serve) -> None:
    server = filled(serve)
    for _ in range(300):
        Raw(server.port, PAGE).socket.close()
    wait_for(lambda: ask_page(server) == 1000, "a page")


def ask_page(server: Running) -> int:
    """The number of messages on the whole page; 0 if the server refused it."""
    answer = server.get("/messages?room=large&limit=1000", headers={"Accept": "application/json"})
    return len(json.loads(answer.content)["messages"]) if answer.status_code == 200 else 0
