"""Connections without a socket, which keep what is written to them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomcast.http import context as limits
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from tests.delivery.fakes import until

BODY = b'{"room": "a", "text": "x"}'
PUBLISH = (
    b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n"
    + BODY
)
LARGE = PUBLISH.replace(b": 26", b": %d" % (26 + 9000)).replace(b'"x"', b'"%s"' % (b"x" * 9001))
"""A publish that is parsed in several turns of the loop."""
PAGE = b"GET /messages?room=a HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"


class Transport(asyncio.Transport):
    """A transport that keeps the written bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Client(Transport):
    """The connection of a client, which reads its answers when the test says so."""

    def __init__(self, address: str = "127.0.0.1", *, tls: bool = False) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol | None = None
        self.unread = 0
        """Bytes that wait in the transport, as it reports them."""
        self.reading = True
        self._info = {"peername": (address, 1), "sslcontext": object() if tls else None}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._info.get(name, default)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def answered(context: Context, data: bytes) -> Client:
    """A connection that has sent `data`, after its answer has begun or it was cut."""
    connection, client = FastPath(context), Client()
    connection.connection_made(client)
    connection.data_received(data)
    await until(lambda: client.written or client.aborted)
    return client


def too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on each step has taken too long."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "IDLE_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(limits, name, -1.0)
