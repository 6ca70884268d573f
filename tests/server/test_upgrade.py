"""Requests that ask for another protocol, as Java's HttpClient and `curl --http2` do with every first one: they
are served as what they are."""

from __future__ import annotations

import json

import pytest

from tests.raw import Raw
from tests.running import Running

_H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
_WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def publishing(text: str, asking: bytes = _H2C, framing: str = "length") -> bytes:
    body = json.dumps({"text": text, "room": "developers"}).encode()
    fields = b"Host: localhost\r\nContent-Type: application/json\r\n" + asking
    if framing == "chunked":
        fields, body = fields + b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        fields += b"Content-Length: %d\r\n" % len(body)
    return b"POST /messages HTTP/1.1\r\n%b\r\n%b" % (fields, body)


@pytest.mark.parametrize("asking", [_H2C, _WEBSOCKET])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_publish_that_asks_for_another_protocol_is_stored(server: Running, asking: bytes, framing: str) -> None:
    with Raw(server.port) as connection:
        for text in ("a", "b" * 60_000, "c"):
            connection.send(publishing(text, asking, framing))
            answer = connection.answer()
            assert (answer.status, answer.json["text"]) == (201, text)


def test_a_publish_that_asks_for_another_protocol_may_come_byte_by_byte(server: Running) -> None:
    with Raw(server.port) as connection:
        for byte in publishing("slowly"):
            connection.send(bytes([byte]))
        assert connection.answer().json["text"] == "slowly"


def test_requests_after_one_for_another_protocol_are_answered_in_order(server: Running) -> None:
    with Raw(server.port, publishing("a") + publishing("b", b"") + publishing("c", b"")) as connection:
        assert [connection.answer().json["text"] for _ in "abc"] == ["a", "b", "c"]


def test_many_requests_for_another_protocol_at_once_are_all_answered(server: Running) -> None:
    """In time linear in their number: none costs a copy of all that follow."""
    before = server.metric("roomcast_messages_published_total")
    with Raw(server.port, publishing("x") * 1_000) as connection:
        assert [connection.answer().status for _ in range(1_000)] == [201] * 1_000
    assert server.metric("roomcast_messages_published_total") == before + 1_000
    assert "Traceback" not in server.said()
