"""Takes connections over TLS. Not the loop's own listener: it gives no hold of a connection whose handshake is not
done, and 1,024 of these that send nothing would take all files."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from roomcast.http import context as limits
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath

_REST_SECONDS = 0.1
"""How long no connection is taken when there is no file for one: asked again at once, the loop would spin."""


class TlsListener:
    """One listening socket."""

    def __init__(self, context: Context, listener: socket.socket, tls: ssl.SSLContext) -> None:
        self._context = context
        self._listener = listener
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._begin()

    def close(self) -> None:
        """Takes no more connections."""
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _begin(self) -> None:
        if self._listener.fileno() >= 0:  # not closed meanwhile
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            connection, peer = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # gone again
            return
        except OSError:  # no file, or no memory, in spite of `Connections`
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_REST_SECONDS, self._begin)
            return
        connection.setblocking(False)
        Handshake(self._context, connection, peer, self._tls)


class Handshake:
    """A connection that is not one of TLS yet: it is closed for others like any that waits for its client."""

    def __init__(self, context: Context, connection: socket.socket, peer: object, tls: ssl.SSLContext) -> None:
        self._context = context
        self._connection = connection
        self._peer = peer
        self._tls = tls
        self._begun = False
        """Whether the connection is the transport's."""
        self._making = asyncio.create_task(self._make())
        self._making.add_done_callback(self._end)
        context.connections.enter(self, self)

    def abort(self) -> None:
        """Closes it at once."""
        if not self._begun:
            self._connection.close()
        self._making.cancel()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As a transport's."""
        return self._peer if name == "peername" else default

    def expire(self) -> None:
        """The transport ends it, after as long as a request's head may take."""

    def shutdown(self) -> None:
        """The server is about to end."""
        self.abort()

    def established(self) -> None:
        """It is one of TLS, and counted as that from now on."""
        self._context.connections.leave(self)

    async def _make(self) -> None:
        self._begun = True
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: _Secured(self, self._context),
            self._connection,
            ssl=self._tls,
            ssl_handshake_timeout=limits.HEAD_SECONDS,
            ssl_shutdown_timeout=limits.IDLE_SECONDS,  # as long as an answer may take to be taken
        )

    def _end(self, making: asyncio.Task[None]) -> None:
        self._context.connections.leave(self)
        if making.cancelled():
            return
        # Other errors are a client's that speaks no TLS, or has gone.
        if isinstance(making.exception(), ConnectionAbortedError):
            self._context.connections.count("handshake")


class _Secured(asyncio.Protocol):
    """The first protocol of a TLS connection: gives it to that of every connection."""

    def __init__(self, handshake: Handshake, context: Context) -> None:
        self._handshake = handshake
        self._context = context

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._handshake.established()
        protocol = FastPath(self._context)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
