"""The limit of what one client may publish. The server decides from the head of the request, on each of its three
request paths, and a refusal costs less than a publish."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import httpx
import pytest

import roomcast
from tests.conftest import Serve
from tests.hardening.process import cpu_seconds
from tests.raw import Raw, ask, post, request
from tests.running import PATIENCE, Running

BODY = b'{"room":"a","text":"x"}'
CHUNKED = ("Content-Type: application/json", "Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    "large",
    [
        request("POST", "/messages", *CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
        post(BODY),
        request("POST", "/rooms/a", body=b"x"),
    ],
    ids=["h11", "fast", "post"],
)
def test_beyond_the_rate_each_way_answers_429_and_when_to_come_back(serve: Serve, large: bytes) -> None:
    server = serve("--publish-rate=2/m", "--publish-burst=3", "--log=memory:")
    assert [ask(server.port, large).status for _ in range(5)] == [201, 201, 201, 429, 429]
    answer = ask(server.port, large)
    assert answer.headers["content-type"] == "application/problem+json"
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert answer.json["type"].endswith(":too-many")
    assert server.metric('roomcast_refusals_total{reason="rate"}') == 3
    assert server.metric("roomcast_messages_published_total") == 3
    assert server.get("/healthz").status_code == 200


def test_beyond_the_rate_a_mounted_one_answers_429() -> None:
    async def publish() -> list[int]:
        live = roomcast.app(log="memory:", publish_rate=1 / 30, publish_burst=2)
        transport = httpx.ASGITransport(app=live, client=("192.0.2.7", 1))
        async with live, httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            await live.publish("a", text="the host's own are not counted")
            await live.publish("a", text="the host's own are not counted")
            return [(await client.post("/rooms/a", content=b"x")).status_code for _ in range(4)]

    assert asyncio.run(publish()) == [201, 201, 429, 429]


def test_a_body_is_not_waited_for_where_the_rate_is_used_up(serve: Serve) -> None:
    server = serve("--publish-rate=1/h", "--log=memory:")
    assert ask(server.port, post(BODY)).status == 201
    head = request("POST", "/messages", "Content-Type: application/json", "Content-Length: 1000000")
    with Raw(server.port, head) as connection:
        assert connection.answer().status == 429


def test_a_batch_counts_as_its_messages(serve: Serve) -> None:
    server = serve("--publish-rate=10/s", "--publish-burst=10", "--log=memory:")
    assert server.post([{"room": "a", "text": "x"}] * 1000).status_code == 201
    refused = server.post({"room": "a", "text": "x"})
    assert refused.status_code == 429
    assert 90 <= int(refused.headers["retry-after"]) <= 100


def test_large_batches_that_were_admitted_together_are_not_all_stored(serve: Serve) -> None:
    server = serve("--publish-rate=10/s", "--publish-burst=10", "--log=memory:")
    batch = b"[" + b",".join([b'{"room":"a","text":"%b"}' % (b"x" * 100)] * 1000) + b"]"
    connections = [Raw(server.port, post(batch)[:-1]) for _ in range(5)]
    for connection in connections:
        connection.send(batch[-1:])
    statuses = sorted(connection.answer().status for connection in connections)
    assert statuses == [201, 429, 429, 429, 429]
    for connection in connections:
        connection.socket.close()


def test_behind_a_trusted_proxy_each_of_its_clients_has_a_rate(serve: Serve) -> None:
    server = serve("--open", "--publish-rate=1/h", "--log=memory:")
    clients = ["192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1", "2001:db8::2"]
    statuses = [ask(server.port, post(BODY, f"X-Forwarded-For: {client}")).status for client in clients]
    assert statuses == [201, 201, 429, 201, 429]


def test_peers_of_a_socket_file_are_one_client(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    options = [f"--host=unix:{path}", "--open", "--log=memory:", "--publish-rate=1/h"]
    server = Running([sys.executable, "-m", "roomcast", "serve", *options], tmp_path)
    try:
        server.wait_until_it_says("follow +")
        assert [_status_at(path) for _ in range(2)] == [201, 429]
    finally:
        server.kill()


def _status_at(path: Path) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        connection.sendall(post(BODY))
        return int(connection.recv(65536).split()[1])


def test_without_the_option_nothing_is_limited(serve: Serve) -> None:
    server = serve("--log=memory:")
    assert all(server.post({"room": "a", "text": "x"}).status_code == 201 for _ in range(200))


def test_a_refusal_costs_less_than_what_it_refuses(serve: Serve) -> None:
    server = serve("--publish-rate=1/h", "--no-access-log")
    free = serve("--no-access-log", "--log=sqlite:free.db")
    assert ask(server.port, post(BODY)).status == 201
    assert _cpu_of(server.port, server.process.pid, 429) < _cpu_of(free.port, free.process.pid, 201)


def _cpu_of(port: int, pid: int, status: int) -> float:
    """The server's CPU seconds for 3,000 posts, each answered with `status`."""
    before = cpu_seconds(pid)
    with Raw(port) as connection:
        for _ in range(3_000):
            connection.send(post(BODY))
            assert connection.answer().status == status
    return cpu_seconds(pid) - before
