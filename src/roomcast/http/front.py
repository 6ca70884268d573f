"""A new connection's protocol: serves the two hot routes by itself, and hands all else to uvicorn's.

A request through uvicorn's protocol, its cycle, a task, Starlette's router, request and response costs several
times what is done with it. So a connection begins here, where a request is a body and what its head asks for,
looked up by the head's very bytes. Nothing is begun before a request is there as a whole and known to be plain:
what is not plain, not HTTP/1.1, pipelined, malformed, or slow to come is fed to `HttpProtocol` as it was received,
which then has the connection for good. So nothing of HTTP's odd corners is decided here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from roomcast.http import head
from roomcast.http.connection import SocketConnection
from roomcast.http.direct import Direct, Follow, Publish
from roomcast.http.http1 import HttpProtocol
from roomcast.http.write_batch import WriteBatch

_MAX_BYTES = 64 * 1024
"""Of a request that is held until it is complete; a larger one is read with uvicorn's flow control."""


class Front(asyncio.Protocol):
    """One connection, until it is a follower's or `HttpProtocol`'s."""

    __slots__ = (
        "_answered",
        "_answering",
        "_asked",
        "_asked_for",
        "_choked",
        "_client_address",
        "_direct",
        "_head_bytes",
        "_keep_alive",
        "_loop",
        "_outbox",
        "_received",
        "_since",
        "_transport",
        "_used",
    )

    def __init__(
        self,
        direct: Direct,
        outbox: WriteBatch,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: object = None,
    ) -> None:
        self._direct = direct
        self._outbox = outbox
        self._asked_for = (config, server_state, app_state)
        self._loop = asyncio.get_running_loop()
        self._client_address = ""
        """Empty until it is asked for."""
        self._received = b""
        """What was received of a request that is not complete, or behind one that is being answered."""
        self._asked: Publish | Follow | None = None
        """What the request asks for whose body is on its way."""
        self._head_bytes = 0
        """How long its head is."""
        self._since = self._loop.time()
        """When the last answer was given, or the connection made."""
        self._keep_alive = True
        self._used = self._answering = self._choked = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._asked_for[1].connections.add(self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        if self._answering:
            self._received = received
            self._transport.pause_reading()
            return
        if self._asked is None:
            self._head_bytes = received.find(head.END) + len(head.END)
            # Where it has no end yet: of three bytes, nothing is asked.
            self._asked = self._direct.plain(received[: self._head_bytes])
        asked = self._asked
        size = self._head_bytes + asked.length if asked else 0
        if asked is None or len(received) > size or size > _MAX_BYTES:
            self._hand_over(received)
        elif len(received) < size:
            self._received = received
        else:
            self._serve(asked, received)

    def eof_received(self) -> bool:
        """A client such as `nc -N` ends its side after its request, and reads on: it is answered, then closed."""
        self._keep_alive = False
        return self._answering

    def pause_writing(self) -> None:
        """Who publishes and does not read the answers is not read from: they would be held without a bound."""
        self._choked = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        if not self._answering:
            self._read_on()

    # What uvicorn's server, and our own, ask of each connection.

    def shutdown(self) -> None:
        """The server is about to end."""
        self._keep_alive = False
        if not self._answering:
            self._transport.close()

    def expire(self) -> None:
        """Called every few seconds. Who is slow is `HttpProtocol`'s matter; who is idle is closed."""
        if self._answering:
            return
        if self._choked:
            if self._loop.time() - self._since > self._asked_for[0].timeout_keep_alive:
                self._transport.abort()
        elif self._received or not self._used:
            self._hand_over(self._received)
        elif self._loop.time() - self._since > self._asked_for[0].timeout_keep_alive:
            self._transport.close()

    # The two hot routes

    def _serve(self, asked: Publish | Follow, received: bytes) -> None:
        self._asked = None
        self._received = b""
        client = self._client() if self._direct.notes else ""
        if isinstance(asked, Publish):
            self._answering = True
            self._keep_alive = asked.keep_alive
            self._direct.publish(asked, received[self._head_bytes :], client, self._answer)
            return
        begun = self._direct.follow(asked, client)
        if begun is None:
            self._hand_over(received)
            return
        self._let_go()
        connection = SocketConnection()
        connection.take(self._transport)
        begun.begin(connection, chunked=True)

    def _answer(self, status: bytes, fields: bytes, content: bytes) -> None:
        """Called by `Direct.publish`, now or when what was published is durable."""
        date = _lines(self._asked_for[1].default_headers)
        close = b"" if self._keep_alive else b"connection: close\r\n"
        self._answered = b"HTTP/1.1 %b\r\n%b%b%b\r\n%b" % (status, date, close, fields, content)
        self._outbox.add(self, self._loop)

    def write_answer(self) -> None:
        """Called by the outbox."""
        self._answering = False
        if self._transport.is_closing():
            return
        self._transport.write(self._answered)
        if not self._keep_alive:
            self._transport.close()
            return
        self._used = True
        self._since = self._loop.time()
        if self._received and not self._choked:
            self._read_on()

    def _read_on(self) -> None:
        received, self._received = self._received, b""
        self._transport.resume_reading()
        if received:
            self.data_received(received)

    def _client(self) -> str:
        """For the log of requests. Asked for once: the kernel's answer takes a tenth of a connection's time."""
        if not self._client_address:
            peer = self._transport.get_extra_info("peername")
            self._client_address = str(peer[0]) if peer else "-"
        return self._client_address

    def _hand_over(self, received: bytes) -> None:
        """Gives the connection to uvicorn's protocol, as if it had always been there."""
        self._let_go()
        protocol = HttpProtocol(*self._asked_for)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if received:
            protocol.data_received(received)

    def _let_go(self) -> None:
        self._asked_for[1].connections.discard(self)


_rendered: tuple[object, bytes] = (None, b"")


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """uvicorn's headers, which are a new list each second."""
    global _rendered
    if _rendered[0] is not headers:
        _rendered = (headers, b"".join([b"%b: %b\r\n" % header for header in headers]))
    return _rendered[1]
