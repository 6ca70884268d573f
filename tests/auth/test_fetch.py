"""A JWKS is fetched within bounds of time and size, and from its own origin only."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from roomcast.auth.tokens import fetch as fetching
from roomcast.auth.tokens.fetch import CannotFetch, fetch
from tests.auth.signing import jwk
from tests.silent import leaves, silent

GOOD = json.dumps({"keys": [jwk("ES256", kid="1")]}).encode()


class Server:
    """Answers each path with given bytes, unchanged."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        self.asked.append(path)
        self.heads.append(head)
        if path in self.answers:
            writer.write(self.answers[path])
            await writer.drain()
        else:
            await reader.read()  # until the client goes
        writer.close()

    async def keys(self, answer: bytes) -> Sequence[str | None]:
        """The names of the keys in this answer."""
        self.answers["/jwks"] = answer
        return [key.kid for key in (await fetch(f"{self.url}/jwks")).keys]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await found.serve(reader, writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    found = Server(listening.sockets[0].getsockname()[1])
    yield found
    listening.close()


def ok(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


async def test_the_served_keys_are_read(server: Server) -> None:
    assert await server.keys(ok(GOOD)) == ["1"]
    assert b"accept-encoding: identity" in server.heads[0].lower()


async def test_keys_for_other_uses_are_ignored(server: Server) -> None:
    rows = [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I", "kid": "secret"},
        jwk("RSA", kid="enc", use="enc"),
        jwk("RSA1024", kid="short"),
        jwk("ES512", kid="521"),
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x", "kid": "of tomorrow"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "kid": "not on the curve", "x": "AQ", "y": "AQ"},
        jwk("ES256", kid="number") | {"kid": 7},
        jwk("ES256", kid="signs only", key_ops=["sign"]),
        jwk("RSA", kid="HS", alg="HS256"),
        "no key",
        jwk("RSA", kid="ps", alg="PS256"),
        jwk("Ed25519", kid="ed"),
    ]
    server.answers["/jwks"] = ok(json.dumps({"keys": rows}).encode())
    found = await fetch(f"{server.url}/jwks")
    algorithms = {key.kid: sorted(key.algorithms) for key in found.keys}
    assert algorithms == {"ps": ["PS256"], "ed": ["Ed25519", "EdDSA"]}
    assert "has 1024 bits" in " ".join(found.ignored)


BAD = {
    "its status is 500": ok(GOOD, status="500 Oops"),
    "its status is 204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "it is not JSON": ok(b"<html>"),
    "it is not JSON ": ok(b'{"keys": [], "keys": []}'),
    "it is not JSON  ": ok(b"[" * 10_000),
    "it is not a JWKS": ok(b"[]"),
    "it is not a JWKS ": ok(b'{"keys": {}}'),
    "it has no usable key": ok(b'{"keys": []}'),
    "it has no usable key; key 0": ok(json.dumps({"keys": [jwk("RSA1024", kid="1")]}).encode()),
    "it has more than 256 KiB": ok(GOOD + b" " * 256 * 1024),
    "it is compressed": ok(gzip.compress(GOOD), "Content-Encoding: gzip"),
    "it redirects to another origin": ok(b"", "Location: http://127.0.0.2/jwks", status="302 Found"),
    "it redirects to another origin ": ok(b"", "Location: https://127.0.0.1/jwks", status="307 Found"),
    "it redirects to another origin  ": ok(b"", "Location: //evil.example/jwks", status="301 Found"),
    "it redirects to another origin   ": ok(b"", "Location: file:///etc/passwd", status="301 Found"),
    "it redirects to an invalid URL": ok(b"", "Location: http://[x", status="301 Found"),
    "it redirects more than 3 times": ok(b"", "Location: /jwks", status="302 Found"),
    "RemoteProtocolError": b"HTTP/9 oops\r\n\r\n",
    "RemoteProtocolError ": b"",
}


@pytest.mark.parametrize("why", BAD)
async def test_an_invalid_jwks_is_reported(server: Server, why: str) -> None:
    server.answers["/jwks"] = BAD[why]
    with pytest.raises(CannotFetch, match=why.strip()):
        await fetch(f"{server.url}/jwks")


async def test_a_redirect_within_the_origin_is_followed(server: Server) -> None:
    server.answers["/keys"] = ok(GOOD)
    assert await server.keys(ok(b"", "Location: keys", status="302 Found")) == ["1"]
    assert server.asked == ["/jwks", "/keys"]


@pytest.mark.parametrize(
    ("url", "location", "same"),
    [
        ("https://a/jwks", "https://a:443/keys", True),
        ("https://a:443/jwks", "https://A/keys", True),
        ("http://a/jwks", "http://a:80/keys", True),
        ("https://a/jwks", "https://a:80/keys", False),
        ("https://a/jwks", "https://a:0/keys", False),
        ("https://a/jwks", "http://a:443/keys", False),
        ("https://a/jwks", "https://a.b:443/keys", False),
    ],
)
async def test_the_usual_port_may_be_written_or_left_out(
    monkeypatch: pytest.MonkeyPatch, url: str, location: str, same: bool
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/jwks":
            return httpx.Response(302, headers={"location": location})
        return httpx.Response(200, stream=httpx.ByteStream(GOOD))

    monkeypatch.setattr(fetching, "_client", lambda: httpx.AsyncClient(transport=httpx.MockTransport(answer)))
    if same:
        assert [key.kid for key in (await fetch(url)).keys] == ["1"]
    else:
        with pytest.raises(CannotFetch, match="it redirects to another origin"):
            await fetch(url)
    assert asked == (["/jwks", "/keys"] if same else ["/jwks"])


async def test_three_redirects_are_followed(server: Server) -> None:
    server.answers = {
        "/a": ok(b"", "Location: /b", status="302 Found"),
        "/b": ok(b"", "Location: /keys", status="302 Found"),
        "/keys": ok(GOOD),
    }
    assert await server.keys(ok(b"", "Location: /a", status="302 Found")) == ["1"]


async def test_a_fetch_does_not_wait_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 0.3)
    with pytest.raises(CannotFetch, match=r"no complete answer within 0\.3 s"):
        await fetch(f"{server.url}/never")


async def test_a_fetch_that_is_cancelled_during_its_handshake_closes_its_connection() -> None:
    async with silent() as server:
        await leaves(server, fetch(f"{server.url}/jwks"))


async def test_a_refused_connection_is_reported(server: Server) -> None:
    with pytest.raises(CannotFetch, match="ConnectError"):
        await fetch("http://127.0.0.1:1/jwks")


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("X: y", 300),
        ("Cache-Control: max-age=7200", 7200),
        ("Cache-Control: public, max-age=15, must-revalidate", 300),
        ("Cache-Control: MAX-AGE=86400000", 86_400),
        ("Cache-Control: s-maxage=7200", 300),
        ("Cache-Control: no-store", 300),
        ("Cache-Control: max-age=-1", 300),
    ],
)
async def test_keys_are_kept_for_five_minutes_to_a_day(server: Server, field: str, seconds: float) -> None:
    server.answers["/jwks"] = ok(GOOD, field)
    assert (await fetch(f"{server.url}/jwks")).seconds == seconds
