"""Accepts connections over TLS.

The loop's own listener gives no access to a connection before its handshake is done: 1,024 connections that send
nothing would use up all file descriptors."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from roomcast.http import context as limits
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath

_PAUSE_SECONDS = 0.1
"""Pause after an accept for which no file descriptor was free: retrying at once would make the loop spin."""


class TlsListener:
    """One listening socket."""

    def __init__(self, context: Context, listener: socket.socket, tls: ssl.SSLContext) -> None:
        self._context = context
        self._listener = listener
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._begin()

    def close(self) -> None:
        """Accepts no more connections."""
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _begin(self) -> None:
        if self._listener.fileno() >= 0:  # not closed during the pause
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            connection, peer = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # its client has already gone
            return
        except OSError:  # no descriptor or memory, although `Connections` keeps some free
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_PAUSE_SECONDS, self._begin)
            return
        connection.setblocking(False)
        Handshake(self._context, connection, peer, self._tls)


class Handshake:
    """A connection during its handshake. It may be closed to make room, like any that waits for its client."""

    def __init__(self, context: Context, connection: socket.socket, peer: object, tls: ssl.SSLContext) -> None:
        self._context = context
        self._connection = connection
        self._peer = peer
        self._tls = tls
        self._transport_owns_socket = False
        """Whether the transport closes the socket: from the beginning of the handshake on."""
        self._making = asyncio.create_task(self._make())
        self._making.add_done_callback(self._end)
        context.connections.enter(self, self)

    def abort(self) -> None:
        """Closes it at once."""
        if not self._transport_owns_socket:
            self._connection.close()
        self._making.cancel()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Like a transport's: `name` may be `peername`; anything else is `default`."""
        return self._peer if name == "peername" else default

    def expire(self) -> None:
        """Does nothing: the transport has a timeout of its own, as long as for a request's head."""

    def shutdown(self) -> None:
        """Called when the server is about to end."""
        self.abort()

    def established(self) -> None:
        """Called when the handshake is done: the connection is counted under its transport from now on."""
        self._context.connections.leave(self)

    async def _make(self) -> None:
        self._transport_owns_socket = True
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: _Secured(self, self._context),
            self._connection,
            ssl=self._tls,
            ssl_handshake_timeout=limits.HEAD_SECONDS,
            ssl_shutdown_timeout=limits.IDLE_SECONDS,  # as long as a client may take to read an answer
        )

    def _end(self, making: asyncio.Task[None]) -> None:
        self._context.connections.leave(self)
        if making.cancelled():
            return
        # Only a timeout is counted. All other errors mean that the client does not speak TLS, or has gone.
        if isinstance(making.exception(), ConnectionAbortedError):
            self._context.connections.count_closed("handshake")


class _Secured(asyncio.Protocol):
    """The first protocol of a TLS connection. It hands the connection over to `FastPath`, the first protocol of
    every other connection."""

    def __init__(self, handshake: Handshake, context: Context) -> None:
        self._handshake = handshake
        self._context = context

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._handshake.established()
        protocol = FastPath(self._context)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
