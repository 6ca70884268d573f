"""httpx, as every request of the client wants it: headers, auth and proxy as values or as calls, redirections that
lead somewhere, timeouts that fit a stream."""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar
from weakref import WeakSet

import httpx
from anyio.lowlevel import current_token

from roomcast.client.body import check_encoding
from roomcast.client.errors import Closed, Refused, shown
from roomcast.client.options import check_names
from roomcast.client.proxies import AsyncRouted, Routed

T = TypeVar("T")
Given: TypeAlias = T | Callable[[], T]
"""A value, or what gives it anew for each attempt: a token that ends, an address that changes."""
AsyncGiven: TypeAlias = T | Callable[[], T | Awaitable[T]]

Headers = Mapping[str, str]
Auth = str | tuple[str, str] | httpx.Auth | None
"""A bearer token, a user and a password, or anything that httpx takes."""
Proxy = str | httpx.Proxy | None

Extra = Sequence[tuple[str, str | bytes]]
"""Headers that only one attempt has."""
Trace = Callable[[str, dict[str, Any]], Any]

CONNECT_SECONDS = 10.0
_OF_TRANSPORT = ("verify", "cert", "trust_env", "http1", "http2", "limits")
"""Options that httpx's transport takes, which its client gives to its own."""
_CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete", "start_tls.complete")


class Stream(Protocol):
    """What a client that is closed must end."""

    closed: bool

    def hang_up(self) -> Any:
        """Ends the connection, or the pause."""


@dataclass(frozen=True)
class Ask:
    """A request, which may be sent several times."""

    method: str
    url: str
    body: bytes | None = None
    headers: list[tuple[str, str | bytes]] = field(default_factory=list)
    read_timeout: float | None = None
    """Seconds without a byte after which the connection is dead; None: never."""
    most: int | None = None
    """Bytes that its answer may have; None: as many as the client takes of any."""


@dataclass(frozen=True)
class Options:
    """What all requests of one client have."""

    headers: Any = None
    auth: Any = None
    proxy: Any = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of httpx's client, such as `verify` or `transport`."""

    own: Iterable[str] = ()
    """Names that the caller takes itself: near misses of these are hinted at."""

    def __post_init__(self) -> None:
        check_names(self.more, self.own)

    @property
    def renews(self) -> bool:
        """Whether another request may have another credential."""
        return callable(self.auth) or callable(self.headers)

    def blocking(self, proxy: Proxy, for_streams: bool) -> httpx.Client:
        """A client for requests, or for streams, through this proxy."""
        given = self._for_httpx(check_response, for_streams)
        if self._reads_environment(proxy):
            own = self._for_transport(given)
            given["transport"] = Routed(lambda proxy: httpx.HTTPTransport(proxy=proxy, **own))
        return httpx.Client(proxy=proxy, **given)

    def awaiting(self, proxy: Proxy, for_streams: bool) -> httpx.AsyncClient:
        """`blocking` for an event loop."""
        given = self._for_httpx(_check_response, for_streams)
        if self._reads_environment(proxy):
            own = self._for_transport(given)
            given["transport"] = AsyncRouted(lambda proxy: httpx.AsyncHTTPTransport(proxy=proxy, **own))
        return httpx.AsyncClient(proxy=proxy, **given)

    def _for_httpx(self, hook: Callable[..., Any], for_streams: bool) -> dict[str, Any]:
        """The arguments of an httpx client. Streams may be many, so its connections are not counted; and none has
        a connection that another request had: of a new one alone httpcore tells, so that it can be hung up."""
        limits = self.more.get("limits", httpx.Limits(max_connections=None, max_keepalive_connections=20))
        if for_streams:
            limits = httpx.Limits(max_connections=limits.max_connections, max_keepalive_connections=0)
        hooks = self.more.get("event_hooks", {})
        return {
            "follow_redirects": True,
            **self.more,
            "limits": limits,
            "event_hooks": {**hooks, "response": [*hooks.get("response", ()), hook]},
        }

    def _reads_environment(self, proxy: Proxy) -> bool:
        return proxy is None and self.more.get("transport") is None and bool(self.more.get("trust_env", True))

    def _for_transport(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: given[name] for name in _OF_TRANSPORT if name in given}


class Http:
    """Sends requests, one after another or from several threads."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._clients: dict[tuple[Any, bool], httpx.Client] = {}
        """Two for each proxy there was: for requests, and for streams."""
        self._lock = threading.Lock()
        self._networks: WeakSet[Any] = WeakSet()
        """httpcore's ends of the connections there are."""
        self._streams: WeakSet[Stream] = WeakSet()
        self.closing = threading.Event()

    @property
    def renews(self) -> bool:
        """Whether another request may have another credential."""
        return self._options.renews

    def keep(self, stream: Stream) -> None:
        """It ends with this."""
        with self._lock:
            self._streams.add(stream)

    def send(self, ask: Ask, extra: Extra = (), stream: Callable[[Any], None] | None = None) -> httpx.Response:
        """The answer, to be read and closed; a `stream` is told of its connection when there is one. Raises
        `httpx.TransportError`, `Refused` for a redirection that leads nowhere, and `Closed`."""
        options = self._options
        headers, auth, proxy = (_now(value) for value in (options.headers, options.auth, options.proxy))
        kind = proxy, stream is not None
        with self._lock:  # of two threads only one makes it
            if self.closing.is_set():
                raise Closed
            if kind not in self._clients:
                self._clients[kind] = options.blocking(proxy, kind[1])
            client = self._clients[kind]

        def trace(name: str, info: dict[str, Any]) -> None:
            if name.endswith(_CONNECTED):
                self._connected(network := info["return_value"])
                if stream:
                    stream(network)

        try:
            return client.send(
                _built(client, ask, extra, headers, auth, trace), stream=True, auth=_for_httpx(auth)
            )
        except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise Refused(f"{shown(ask.url)}: {error}") from error
        except RuntimeError:  # httpx's word for the same, where it was closed just now
            if self.closing.is_set():
                raise Closed from None
            raise

    def _connected(self, network: Any) -> None:
        with self._lock:
            self._networks.add(network)
        if self.closing.is_set():
            shut_down(network)

    def close(self) -> None:
        """Ends every request and every stream, in whatever threads they wait."""
        with self._lock:
            streams, networks, clients = [*self._streams], [*self._networks], [*self._clients.values()]
            for stream in streams:
                stream.closed = True
            self.closing.set()
            self._clients.clear()
        for stream in streams:
            stream.hang_up()
        for network in networks:
            shut_down(network)
        for client in clients:
            client.close()


class AsyncHttp:
    """`Http` for an event loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._clients: dict[tuple[Any, bool], httpx.AsyncClient] = {}
        self._streams: WeakSet[Stream] = WeakSet()
        self._loop: object = None
        """The event loop that its connections belong to: the first that it was used in."""
        self.closing = False

    @property
    def renews(self) -> bool:
        """Whether another request may have another credential."""
        return self._options.renews

    def keep(self, stream: Stream) -> None:
        """It ends with this."""
        self._streams.add(stream)

    async def send(
        self, ask: Ask, extra: Extra = (), stream: Callable[[Any], Awaitable[None]] | None = None
    ) -> httpx.Response:
        """As `Http.send`."""
        self._loop = self._loop or current_token()
        if self._loop != current_token():
            raise RuntimeError("this client belongs to another event loop: make one in each")
        options = self._options
        headers, auth, proxy = [await _soon(v) for v in (options.headers, options.auth, options.proxy)]
        kind = proxy, stream is not None
        if self.closing:
            raise Closed
        if kind not in self._clients:
            self._clients[kind] = options.awaiting(proxy, kind[1])
        client = self._clients[kind]

        async def trace(name: str, info: dict[str, Any]) -> None:
            if stream and name.endswith(_CONNECTED):
                await stream(info["return_value"])

        try:
            return await client.send(
                _built(client, ask, extra, headers, auth, trace), stream=True, auth=_for_httpx(auth)
            )
        except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise Refused(f"{shown(ask.url)}: {error}") from error
        except RuntimeError:  # httpx's word for the same, where it was closed just now
            if self.closing:
                raise Closed from None
            raise

    async def aclose(self) -> None:
        """Ends every request and every stream, in whatever tasks they wait."""
        self.closing = True
        streams = [*self._streams]
        for stream in streams:
            stream.closed = True
        for stream in streams:
            await stream.hang_up()
        while self._clients:
            await self._clients.popitem()[1].aclose()


def shut_down(network: Any) -> None:
    """Wakes the thread that reads; closing the socket would not. TLS says no goodbye: that thread may be in it."""
    with suppress(OSError):
        socket.socket.shutdown(network.get_extra_info("socket"), socket.SHUT_RDWR)


def check_response(response: httpx.Response) -> None:
    """Before httpx reads any of an answer's body. Raises `Refused`."""
    check_encoding(response)
    if response.has_redirect_location:
        check_location(response)
        response.stream.close()  # type: ignore[union-attr]
        response.stream = httpx.ByteStream(b"")


async def _check_response(response: httpx.Response) -> None:
    check_encoding(response)
    if response.has_redirect_location:
        check_location(response)
        await response.stream.aclose()  # type: ignore[union-attr]
        response.stream = httpx.ByteStream(b"")


def check_location(response: httpx.Response) -> None:
    """httpx follows an empty `Location` to where it is, and gives a bad one the class of a cut connection."""
    location = response.headers["location"].strip()
    try:
        url = httpx.URL(location)
        host = bool(url.host) and (url.port or 1) in range(1, 65536)
        leads = host if url.scheme in ("http", "https") else bool(location and not url.scheme)
    except (httpx.InvalidURL, ValueError):
        leads = False
    if not leads:
        status = response.status_code
        raise Refused(f"{shown(response.url)} answered {status} and leads to {location[:200]!r}: nowhere", status)


def _now(value: Any) -> Any:
    given = value() if callable(value) else value
    if inspect.isawaitable(given):
        if inspect.iscoroutine(given):
            given.close()
        raise TypeError("a client without await cannot call what must be awaited: give it a plain function")
    return given


async def _soon(value: Any) -> Any:
    given = value() if callable(value) else value
    return await given if inspect.isawaitable(given) else given


def _built(
    client: httpx.Client | httpx.AsyncClient,
    ask: Ask,
    extra: Extra,
    headers: Headers | None,
    auth: Auth,
    trace: Trace,
) -> httpx.Request:
    """The caller's headers win over ours."""
    ours = (("Accept-Encoding", "identity"), *extra, *ask.headers)
    merged: dict[str, tuple[str, str | bytes]] = {name.lower(): (name, value) for name, value in ours}
    merged |= {name.lower(): (name, value) for name, value in (headers or {}).items()}
    if isinstance(auth, str):
        merged["authorization"] = ("Authorization", f"Bearer {auth}")
    encoded = [(k.encode("ascii"), v if isinstance(v, bytes) else v.encode()) for k, v in merged.values()]
    timeout = httpx.Timeout(CONNECT_SECONDS, read=ask.read_timeout, pool=None)
    return client.build_request(
        ask.method, ask.url, content=ask.body, headers=encoded, timeout=timeout, extensions={"trace": trace}
    )


def _for_httpx(auth: Auth) -> Any:
    """httpx finds credentials in the URL and in .netrc where it is told of none."""
    return httpx.USE_CLIENT_DEFAULT if auth is None or isinstance(auth, str) else auth
