"""Sends requests over httpx, and ends them when the client is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import httpx
from anyio.lowlevel import current_token  # async only

from roomcast.client.address import check_proxy
from roomcast.client.awaiting.proxies import AsyncRouted
from roomcast.client.body import check_encoding
from roomcast.client.concurrency import AsyncFlag, async_current, async_hang_up
from roomcast.client.errors import Closed, Refused, without_password
from roomcast.client.http import (
    CONNECTED,
    TLS_FAILED,
    Closable,
    Fields,
    HttpOptions,
    OutgoingRequest,
    Proxy,
    build_request,
    check_location,
    for_httpx,
    for_transport,
)


class AsyncHttp:
    """Sends requests, one after another or from several tasks."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._clients: dict[tuple[Any, bool], httpx.AsyncClient] = {}
        """Two for each proxy that was used: one for requests, one for streams."""
        self._lock = threading.Lock()
        """Guards the clients, the two sets, and setting `_closing`. Never held during network I/O."""
        self._networks: WeakSet[Any] = WeakSet()
        """httpcore's objects for the open connections."""
        self._streams: WeakSet[Closable] = WeakSet()
        self._closing = AsyncFlag()
        self._loop: object = None  # async only
        """The event loop that the connections belong to: the first one that used them."""  # async only

    @property
    def renews_credential(self) -> bool:
        """Whether the next request may carry another credential."""
        return self._options.renews_credential

    def register(self, stream: Closable) -> None:
        """Adds `stream` to those that `aclose` ends. The caller keeps it: this refers to it weakly. A stream that
        is added after `aclose` was called gets `Closed` from `send`."""
        with self._lock:
            self._streams.add(stream)

    async def pause(self, seconds: float) -> None:
        """Waits `seconds` seconds, or until this is closed."""
        await self._closing.wait(seconds)

    async def send(
        self, request: OutgoingRequest, extra: Fields = (), on_connect: Callable[[Any], Any] | None = None
    ) -> httpx.Response:
        """Sends `request`, with `extra` header fields. Returns the response, which the caller must read and close.

        A stream gives `on_connect`, which is called with each new connection, even before the answer. Raises
        `httpx.TransportError`; `Refused` for a bad redirect or a compressed answer; `Unreachable` if the
        environment's proxy cannot be used; and `Closed`."""
        self._check_loop()  # async only
        options = self._options
        headers, auth, proxy = [await async_current(v) for v in (options.headers, options.auth, options.proxy)]
        client = self._client(proxy, for_streams=on_connect is not None)

        network: Any = None

        async def trace(name: str, info: dict[str, Any]) -> None:
            nonlocal network
            if name.endswith(CONNECTED):
                network = info["return_value"]
                await self._connected(network, on_connect)
            elif name.endswith(TLS_FAILED) and network:
                await async_hang_up(network)

        try:
            built = build_request(client, request, extra, headers, auth, trace)
            return await client.send(built, stream=True, auth=for_httpx(auth, built))
        except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise Refused(f"{without_password(request.url)}: {error}; check the URL") from error
        except RuntimeError:  # httpx's own error for a client that was closed meanwhile
            if self._closing.is_set():
                raise Closed from None
            raise

    async def aclose(self) -> None:
        """Ends every request and every stream, whichever task waits for it."""
        with self._lock:
            streams, networks = [*self._streams], [*self._networks]
            for stream in streams:
                stream.closed = True
            self._closing.set()
        for stream in streams:
            await stream.hang_up()
        for network in networks:
            await async_hang_up(network)
        while client := self._take_client():
            await client.aclose()

    def _take_client(self) -> httpx.AsyncClient | None:
        """Removes and returns one of the clients; None if there is none. Several tasks may close this."""
        with self._lock:
            return self._clients.popitem()[1] if self._clients else None

    def _client(self, proxy: Proxy, *, for_streams: bool) -> httpx.AsyncClient:
        with self._lock:
            if self._closing.is_set():
                raise Closed
            if (proxy, for_streams) not in self._clients:
                self._clients[proxy, for_streams] = _new_client(self._options, proxy, for_streams)
            return self._clients[proxy, for_streams]

    async def _connected(self, network: Any, on_connect: Callable[[Any], Any] | None) -> None:
        with self._lock:
            self._networks.add(network)
        if self._closing.is_set():
            await async_hang_up(network)
        if on_connect:
            await on_connect(network)

    def _check_loop(self) -> None:  # async only
        self._loop = self._loop or current_token()
        if self._loop != current_token():
            raise RuntimeError("this client belongs to another event loop: make one in each")


def _new_client(options: HttpOptions, proxy: Proxy, for_streams: bool) -> httpx.AsyncClient:
    if isinstance(proxy, str):
        check_proxy(proxy)
    arguments = options.for_client(_check_response, for_streams)
    if options.reads_environment(proxy):
        arguments["transport"] = AsyncRouted(
            lambda proxy, tls: httpx.AsyncHTTPTransport(proxy=proxy, **for_transport(arguments, tls))
        )
    return httpx.AsyncClient(proxy=proxy, **arguments)


async def _check_response(response: httpx.Response) -> None:
    """Runs before httpx reads any of the answer's body. Raises `Refused` if the body is compressed, or if the
    answer redirects nowhere. Drops the body of a redirect."""
    check_encoding(response)
    if response.has_redirect_location:
        check_location(response)
        await response.stream.aclose()  # type: ignore[union-attr]
        response.stream = httpx.ByteStream(b"")
