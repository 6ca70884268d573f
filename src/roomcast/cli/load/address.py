"""A server's address, and requests to it as bytes."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

P = TypeVar("P", bound=asyncio.BaseProtocol)

PATIENCE = 10.0
"""Seconds that a connection or an answer may take."""


class Address(NamedTuple):
    """The server's address, and the header fields for it."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    path: str
    fields: Mapping[str, str]
    """Header fields of each request; the names are in lower case."""

    @classmethod
    def parse(cls, url: str, headers: Mapping[str, str]) -> Address:
        """Takes a `url` apart. Its user and password become a header field beside `headers`, unless these have an
        `Authorization`."""
        parts = urlsplit(url)
        assert parts.hostname
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        fields = {"host": parts.netloc.rpartition("@")[2]} | {n.lower(): value for n, value in headers.items()}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            fields.setdefault("authorization", f"Basic {base64.b64encode(login).decode()}")
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls, parts.path.rstrip("/"), fields)

    async def connect(self, protocol: Callable[[], P]) -> P:
        """Opens a connection, and returns the protocol that `protocol` made for it. Raises `OSError`, also if that
        takes `PATIENCE` seconds."""
        async with asyncio.timeout(PATIENCE):
            loop = asyncio.get_running_loop()
            return (await loop.create_connection(protocol, self.host, self.port, ssl=self.tls))[1]

    def request(self, method: str, target: str, body: bytes = b"", /, **fields: str) -> bytes:
        """Returns an HTTP/1.1 request for `target` as bytes. A `body` gets its `Content-Length`, and the `method`
        is sent as given; the names of `fields` have underscores for hyphens."""
        named = {**self.fields, **{name.replace("_", "-").lower(): value for name, value in fields.items()}}
        if body:
            named["content-length"] = str(len(body))
        head = [f"{method} {self.path}{target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        return "\r\n".join([*head, "", ""]).encode("latin-1") + body
