"""A server under attack, and plain HTTP/1.1 towards it."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PATIENCE = 10.0
"""Seconds that an answer may take before its connection is given up."""


class Unusable(Exception):
    """This is no URL of a roomcast server; the text says what to do."""


class Answer(NamedTuple):
    """A response."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Target(NamedTuple):
    """Where the server is."""

    host: str
    port: int
    tls: bool
    prefix: str
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with each request, such as `Authorization`."""

    @classmethod
    def parse(cls, url: str, headers: tuple[tuple[str, str], ...] = ()) -> Target:
        """Raises `Unusable`."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Unusable(f"{url!r} is no URL: give one such as http://localhost:8080") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise Unusable(f"{url!r} is no URL of a server: give one such as http://localhost:8080")
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"), headers)

    async def connect(self) -> Connection:
        """A new connection. Raises `OSError`."""
        context = ssl.create_default_context() if self.tls else None
        async with asyncio.timeout(PATIENCE):
            return Connection(self, *await asyncio.open_connection(self.host, self.port, ssl=context))

    async def get(self, path: str, accept: str = "application/json") -> Answer:
        """Over a connection of its own. Raises `OSError`."""
        connection = await self.connect()
        try:
            await connection.send("GET", path, {"Accept": accept, "Connection": "close"})
            return await connection.answer()
        finally:
            connection.cut()


class Connection:
    """One connection to the server."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._target = target
        self.reader = reader
        self.writer = writer

    async def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
        """A request. Raises `OSError`."""
        target = self._target
        fields = [("Host", f"{target.host}:{target.port}"), *target.headers, *headers.items()]
        if method == "POST":
            fields.append(("Content-Length", str(len(body))))
        lines = [f"{method} {target.prefix}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """A response's status and header fields. Raises `OSError` where there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ConnectionError("the connection ended before an answer") from error
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        fields = (line.partition(":") for line in lines)
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in fields}

    async def answer(self) -> Answer:
        """A response with its length said. Raises `OSError` where it does not come as a whole."""
        status, fields = await self.head()
        try:
            async with asyncio.timeout(PATIENCE):
                body = await self.reader.readexactly(int(fields.get("content-length", "0")))
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("the connection ended within an answer") from error
        return Answer(status, body)

    def cut(self) -> None:
        """Ends it at once, whatever is under way."""
        self.writer.transport.abort()
