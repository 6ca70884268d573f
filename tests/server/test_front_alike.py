"""Whatever a client sends, and however it is cut into pieces: the answers are those that uvicorn's protocol alone
would give. So the first protocol of a connection makes it fast, and nothing else."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.raw import post, request
from tests.running import PATIENCE, Running, start_roomcast

BODY = b'{"room":"a","text":"x"}'
_WITHOUT_FRONT = """
from roomcast.cli.main import main
from roomcast.serve import listen
class Alone(listen.HttpProtocol):
    def __init__(self, direct, outbox, *args, **kwargs):
        super().__init__(*args, **kwargs)
listen.Front = Alone
main()
"""
LAST = request("GET", "/healthz", "Connection: close")
"""Its answer ends every conversation that was not ended before."""
REQUESTS = (
    post(BODY),
    post(BODY, "Idempotency-Key: {key}"),
    post(BODY, "X-Twice: 1", "X-Twice: 2"),
    post(BODY, "Origin: http://a.example"),
    post(b'{"room":"a"}'),
    post(b"{"),
    post(BODY).replace(b"application/json", b"text/plain"),
    post(BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    post(BODY).replace(b"/messages", b"/messages?x=1"),
    post(BODY).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1),
    post(BODY).replace(b"\r\n\r\n", b"\r\nConnection: keep-alive, close\r\n\r\n", 1),
    post(BODY).replace(b"POST", b"PUT"),
    post(BODY + b" " * 70_000),
    request("POST", "/messages", "Content-Type: application/json", "Transfer-Encoding: chunked")
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    request("POST", "/messages", "Content-Type: application/json", "Content-Length: 0"),
    request("GET", "/messages?room=", "Accept: text/event-stream"),
    request("GET", "/messages?room=a&limit=0", "Accept: application/json"),
    request("GET", "/messages/nonsense"),
    request("HEAD", "/messages?room=a"),
    request("OPTIONS", "/messages"),
    request("GET", "/nowhere"),
    b"\r\n",
)
FOLLOWS = (
    request("GET", "/messages?room=quiet&replay=none", "Accept: text/event-stream"),
    request("GET", "/messages?room=quiet", "Accept: application/x-ndjson", "Origin: http://a.example"),
    request("GET", "/messages?room=quiet&last_event_id=nonsense"),
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    """As it is, and with uvicorn's protocol alone."""
    options = ["--port=0", "--page-port=0", "--log=memory:"]
    command = [sys.executable, "-c", _WITHOUT_FRONT, "serve", *options]
    both = (
        start_roomcast(tmp_path_factory.mktemp("with"), "--log=memory:"),
        Running(command, tmp_path_factory.mktemp("without")),
    )
    both[1].port = int(both[1].wait_until_it_says(r"follow +http://localhost:(\d+)/")[1])
    yield both
    for server in both:
        assert "Traceback" not in server.said()
        server.kill()


def talk(server: Running, pieces: Sequence[bytes], ends: bytes) -> tuple[bytes, bool]:
    """Everything the server says until it closes the connection, or until `ends` came; and whether that may be cut
    short: a server that closes with something unread resets the connection, and takes back what was not read."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = b""
        try:
            for piece in pieces:
                client.sendall(piece)
            while not (ends and ends in said) and (data := client.recv(65536)):
                said += data
        except (ConnectionResetError, BrokenPipeError):
            return said, True
        return said, False


def compared(said: bytes) -> bytes:
    """Without what differs from moment to moment, and from server to server."""
    said = re.sub(rb"date: [^\r]+ GMT", b"date", said)
    said = re.sub(rb"[a-z0-9]{10}-\d+", b"id", said)
    said = re.sub(rb"content-length: \d+", b"length", said)  # of an id with more digits
    return re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z", b"time", said)


def cut(data: bytes, places: Sequence[float]) -> list[bytes]:
    ends = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends) if end > start]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    conversation=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=5),
    last=st.sampled_from((LAST, *FOLLOWS)),
    places=st.lists(st.floats(0, 1), max_size=6),
    key=st.integers(0, 2**64),
)
def test_every_conversation_goes_as_with_uvicorns_protocol_alone(
    servers: tuple[Running, Running], conversation: list[bytes], last: bytes, places: list[float], key: int
) -> None:
    data = b"".join([*conversation, last]).replace(b"{key}", b"%020d" % key)
    ends = b"" if last is LAST else b"live"
    told = [talk(server, cut(data, places), ends) for server in servers]
    shorter, longer = sorted((compared(said) for said, _ in told), key=len)
    assert longer.startswith(shorter)
    assert any(reset for _, reset in told) or longer == shorter
