"""Behind each proxy that the docs have a page for, with the lines of that page."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import Serve
from tests.observer import Observer
from tests.proxies import PROXIES, Proxy
from tests.reconnecting import EVENTS, ROWS, Follower
from tests.running import PATIENCE, Running, free_port, wait_for

ORIGIN = "https://elsewhere.example"
AWAY = 6.0
"""Seconds."""


class Front(NamedTuple):
    """A proxy, and the port behind it, on which each test puts what it needs."""

    name: str
    proxy: Proxy
    behind: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    def wait_until_it_serves(self) -> None:
        wait_for(lambda: _status(f"{self.url}/healthz") == 200, f"{self.name} to know that the server is there")

    def wait_until_it_asks_to_come_back(self) -> None:
        follow = f"{self.url}/messages?room=developers"
        wait_for(lambda: _status(follow, EVENTS) == 200, f"{self.name} to know that the server is away")


@pytest.fixture(scope="module", params=PROXIES)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    behind = free_port()
    proxy = PROXIES[request.param](tmp_path_factory.mktemp(request.param), behind)
    yield Front(request.param, proxy, behind)
    proxy.stop()


def _status(url: str, accept: str = "*/*") -> int:
    """0 if there is no answer."""
    try:
        return httpx.get(url, headers={"accept": accept}, timeout=2, verify=False).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.parametrize("front", ["haproxy", "caddy", "varnish"], indirect=True)
def test_each_message_comes_once_and_at_once_over_six_seconds_without_a_server(serve: Serve, front: Front) -> None:
    server = serve("--port", str(front.behind), "--log=sqlite:x.db", "--heartbeat=1")
    front.wait_until_it_serves()
    expected = ["one" * 300]  # long enough to be compressed, by a proxy that compresses streams
    server.publish(expected[0])
    url = f"{front.url}/messages?room=developers"
    followers = [Follower(url, EVENTS, "--http1.1"), Follower(url, ROWS, "--http1.1")]
    if front.proxy.tls_port:
        url = f"https://127.0.0.1:{front.proxy.tls_port}/messages?room=developers"
        followers.append(Follower(url, EVENTS, "--http2"))
    try:
        _wait_until_heard(followers, expected)
        wait_for(lambda: all("live" in follower.names for follower in followers), "the end of the replay")
        delays = [_delay(server, followers, expected) for _ in range(6)]
        assert min(delays) < 0.15, delays  # HAProxy that waits for more to send makes it 0.2
        server.process.kill()
        server.process.wait(PATIENCE)
        gone = time.monotonic()
        wait_for(lambda: time.monotonic() > gone + AWAY, "the time that the server is away")
        server = serve("--port", str(front.behind), "--log=sqlite:x.db")
        server.publish("back")
        _wait_until_heard(followers, [*expected, "back"])
    finally:
        for follower in followers:
            follower.stop()
    assert {name for follower in followers for name in follower.names} == {"live"}
    assert followers[0].versions == {"HTTP/1.1"}
    assert followers[-1].versions == {"HTTP/2" if front.proxy.tls_port else "HTTP/1.1"}


def _delay(server: Running, followers: list[Follower], expected: list[str]) -> float:
    """Seconds from the publish of one more message until all have it."""
    expected.append(f"live {len(expected)}")
    server.publish(expected[-1])
    began = time.monotonic()
    _wait_until_heard(followers, expected)
    return time.monotonic() - began


def _wait_until_heard(followers: list[Follower], texts: list[str]) -> None:
    def heard() -> bool:
        assert not any(follower.failure for follower in followers), [follower.failure for follower in followers]
        return all(follower.heard == texts for follower in followers)

    wait_for(heard, f"{texts}, not {[follower.heard for follower in followers]}")


def test_while_there_is_no_server_followers_are_told_to_retry_and_all_others_are_refused(front: Front) -> None:
    front.wait_until_it_asks_to_come_back()
    url, asks = f"{front.url}/messages?room=developers", {"origin": ORIGIN}
    events = httpx.get(url, headers={**asks, "accept": EVENTS})
    rows = httpx.get(url, headers={**asks, "accept": ROWS})
    name, _, wait = events.text.partition(": ")
    assert (events.status_code, name, events.text[-1]) == (200, "retry", "\n")
    assert 2_000 <= int(wait) <= 8_000
    assert (rows.status_code, rows.text[-1]) == (200, "\n")
    row = rows.json()
    assert 2_000 <= row.pop("data") <= 8_000
    assert row == {"event": "retry", "id": None}
    for answer, kind in (events, EVENTS), (rows, ROWS):
        assert answer.headers["content-type"] == kind
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["access-control-allow-origin"] == ORIGIN  # a page with credentials may not have `*`
        assert answer.headers["access-control-allow-credentials"] == "true"
    refused = [
        httpx.post(f"{front.url}/messages", json={"room": "r", "text": "t"}, headers={"accept": EVENTS}),
        httpx.get(url, headers={"accept": "application/json"}),
    ]
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in refused] == [(503, "2")] * 2


def test_a_head_as_long_as_roomcast_takes_passes(serve: Serve, front: Front) -> None:
    """64 rooms with long names that are not Latin, in a follow and a page of history; a field as long."""
    serve("--port", str(front.behind))
    front.wait_until_it_serves()
    rooms = [f"{number:02}" + chr(0x65E5) * 100 for number in range(64)]
    target = "/messages?" + "&".join(f"room={quote(room)}" for room in rooms)
    assert len(target) > 58_000
    with Observer(front.proxy.port, target, headers={"accept": EVENTS}) as follower:
        assert follower.status == 200
        assert follower.next().name == "live"
    assert _status(front.url + target, "application/json") == 200
    cookie = {"cookie": f"c={'x' * 58_000}"}
    assert httpx.get(
        f"{front.url}/messages?room=developers&limit=1", headers={**cookie, "accept": "application/json"}
    ).is_success
    with Observer(front.proxy.port, "/messages?room=r", headers={**cookie, "accept": EVENTS}) as follower:
        assert follower.status == 200


class Recorder(ThreadingHTTPServer):
    """A server that answers everything, and knows what it was asked."""

    def __init__(self, port: int) -> None:
        self.asked: list[tuple[str, Message]] = []
        """Paths and fields."""
        self._connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), _Records)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.append(request)
        super().process_request(request, client_address)

    def cut(self) -> None:
        """Ends the connections that the proxy keeps."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Records(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers))
        self.send_response(200)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"recorded")

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a health check that only connects
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def recorder(front: Front) -> Iterator[Recorder]:
    with Recorder(front.behind) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        front.wait_until_it_serves()
        yield server
        server.shutdown()
        server.cut()
        thread.join(PATIENCE)


@pytest.mark.parametrize("accept", [EVENTS, ROWS, "*/*"])
def test_the_host_and_the_clients_own_address_are_passed_on(front: Front, recorder: Recorder, accept: str) -> None:
    path = f"/messages?{random.random()}"
    made_up = {"Host": "live.example.org:8443", "X-Forwarded-For": "192.0.2.1", "Accept": accept}
    assert httpx.get(front.url + path, headers=made_up).text == "recorded"
    (fields,) = (fields for asked, fields in recorder.asked if asked == path)
    assert fields.get_all("Host") == ["live.example.org:8443"]
    assert fields.get_all("X-Forwarded-For") == ["127.0.0.1"]


@pytest.mark.parametrize(
    "target",
    ["/metrics", "/metrics?all", "/metric%73", "/%6Detrics", "http://localhost/metrics"],
)
def test_no_spelling_of_metrics_passes(front: Front, recorder: Recorder, target: str) -> None:
    answers = _talk(front.proxy.port, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"recorded" not in answers
    assert b" 404 " in answers.partition(b"\r\n")[0]
    assert not any("metric" in path for path, _ in recorder.asked)


def test_requests_after_a_follow_on_its_connection_are_checked_too(front: Front, recorder: Recorder) -> None:
    follow = f"GET /messages HTTP/1.1\r\nHost: localhost\r\nAccept: {EVENTS}\r\n\r\n"
    answers = _talk(
        front.proxy.port, follow + "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    assert answers.count(b"recorded") == 1
    assert not any("metric" in path for path, _ in recorder.asked)


def _talk(port: int, request: str) -> bytes:
    """Everything received on a connection."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as talk:
        talk.sendall(request.encode())
        return b"".join(iter(lambda: talk.recv(65536), b""))
