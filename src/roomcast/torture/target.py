"""The server under attack, and plain HTTP/1.1 requests to it."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PATIENCE = 10.0
"""Seconds that an answer may take."""
_FORM = "give the server's, such as http://localhost:8080"


class Unusable(Exception):
    """The server cannot be attacked, or is no roomcast server. The text says what to do."""


def reason(error: Exception) -> str:
    """Why a request failed, in a few words, by its `error`. asyncio's own text would show a Python tuple."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    return (isinstance(error, OSError) and error.strerror) or str(error) or "timed out"


class RawAnswer(NamedTuple):
    """A response."""

    status: int
    body: bytes
    fields: Mapping[str, str] = {}
    """Header fields, by names in lower case."""

    @property
    def json(self) -> Any:
        """The body, decoded from JSON. Raises `ValueError`."""
        return json.loads(self.body)


class Target(NamedTuple):
    """The address of a server, and what is sent with each request."""

    host: str
    port: int
    tls: bool
    prefix: str
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with each request, such as `Authorization`."""

    @classmethod
    def parse(cls, url: str, headers: tuple[tuple[str, str], ...] = ()) -> Target:
        """Returns the target at `url`, whose requests will have the fields `headers`. Raises `Unusable`."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Unusable(f"{url!r} is not a URL: {_FORM}") from None
        strange = parts.query or parts.fragment or parts.username or not url.isascii() or not url.isprintable()
        if parts.scheme not in ("http", "https") or not parts.hostname or strange or " " in url:
            raise Unusable(f"{url!r} is not the URL of a server: {_FORM}")
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"), headers)

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def without_credential(self) -> Target:
        """Returns the target without the credential."""
        return self._replace(headers=tuple(one for one in self.headers if one[0].lower() != "authorization"))

    def head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        """Returns the head of a request as bytes: `method`, `path`, the target's own fields, and `headers`."""
        fields = [*self.headers, *headers.items()]
        if not any(name.lower() == "host" for name, _ in fields):
            fields.insert(0, ("Host", self.authority))
        lines = [f"{method} {self.prefix}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def connect(self) -> RawConnection:
        """Opens a connection. Raises `OSError`."""
        async with asyncio.timeout(PATIENCE):
            context = _context() if self.tls else None
            return RawConnection(self, *await asyncio.open_connection(self.host, self.port, ssl=context))

    async def get(self, path: str, accept: str = "application/json") -> RawAnswer:
        """Sends a GET for `path`, as `ask` does; `accept` is the media type."""
        return await self.ask("GET", path, accept)

    async def ask(
        self,
        method: str,
        path: str,
        accept: str = "application/json",
        *,
        headers: Mapping[str, str] = {},
        body: bytes = b"",
    ) -> RawAnswer:
        """Sends a request over a new connection, and returns the answer: `method`, `path`, the media type
        `accept`, further `headers`, and a `body`, which must be JSON. Raises `OSError`, and `ValueError` as
        `RawConnection.answer` does."""
        connection = await self.connect()
        try:
            ours = {
                "Accept": accept,
                "Connection": "close",
                **({"Content-Type": "application/json"} if body else {}),
            }
            await connection.send(method, path, {**ours, **headers}, body)
            return await connection.answer()
        finally:
            connection.cut()


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


class RawConnection:
    """One connection to the server."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._target = target
        self.reader = reader
        self.writer = writer
        self.kept = True
        """Whether another request may follow the last answer."""

    async def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
        """Sends a request: `method`, `path`, `headers` beside the target's own, and a `body`. Raises `OSError`."""
        length = {"Content-Length": str(len(body))} if method == "POST" else {}
        self.writer.write(self._target.head(method, path, headers | length) + body)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Reads a response's status and header fields, by names in lower case. Raises `ConnectionError` if the
        head is not HTTP/1 or incomplete, and `TimeoutError` if it takes longer than `PATIENCE`."""
        head = await self._read(self.reader.readuntil(b"\r\n\r\n"))
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        protocol, _, status = first.partition(" ")
        if not protocol.startswith("HTTP/1.") or not status[:3].isdigit():
            raise ConnectionError("the answer is not HTTP/1")
        if status.startswith("1"):
            return await self.head()
        fields = (line.partition(":") for line in lines)
        return int(status[:3]), {name.lower(): value.strip() for name, _, value in fields}

    async def answer(self) -> RawAnswer:
        """Reads a whole response, by RFC 9112, section 6.3. Raises `OSError` if it is incomplete, and `ValueError`
        if its length, or that of a chunk, is malformed."""
        status, fields = await self.head()
        self.kept = fields.get("connection", "").lower() != "close"
        if fields.get("transfer-encoding", "").lower() == "chunked":
            body = b"".join([piece async for piece in chunks(self.reader, self._read)])
        elif "content-length" in fields or status == 204:
            body = await self._read(self.reader.readexactly(int(fields.get("content-length", "0"))))
        else:
            self.kept = False
            body = await self._read(self.reader.read())
        return RawAnswer(status, body, fields)

    def cut(self) -> None:
        """Closes it at once."""
        self.writer.transport.abort()

    @staticmethod
    async def _read(read: Awaitable[bytes]) -> bytes:
        try:
            async with asyncio.timeout(PATIENCE):
                return await read
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ConnectionError("the connection ended before an answer") from error


async def chunks(
    reader: asyncio.StreamReader, read: Callable[[Awaitable[bytes]], Awaitable[bytes]]
) -> AsyncIterator[bytes]:
    """Yields the chunks of the body in `reader`, by RFC 9112, section 7.1. `read` awaits each read, and bounds its
    time. Raises `ValueError` if the body is not chunked."""
    while size := int((await read(reader.readuntil(b"\r\n"))).partition(b";")[0], 16):
        piece = await read(reader.readexactly(size + 2))
        if not piece.endswith(b"\r\n"):
            raise ValueError("a chunk is longer than it says")
        yield piece[:-2]
    await read(reader.readexactly(2))
