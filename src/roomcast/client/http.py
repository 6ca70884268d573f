"""httpx, as every request of the client wants it: headers, auth and proxy as values or as calls, redirections that
lead somewhere, timeouts that fit a stream."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import httpx

from roomcast.client.errors import Refused

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


@dataclass(frozen=True)
class Ask:
    """A request, which may be sent several times."""

    method: str
    url: str
    body: bytes | None = None
    headers: list[tuple[str, str | bytes]] = field(default_factory=list)
    read_timeout: float | None = None
    """Seconds without a byte after which the connection is dead; None: never."""


@dataclass(frozen=True)
class Options:
    """What all requests of one client have."""

    headers: Any = None
    auth: Any = None
    proxy: Any = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of httpx's client, such as `verify` or `transport`."""

    def for_httpx(self, proxy: Proxy, hook: Callable[..., Any]) -> dict[str, Any]:
        """The arguments of an httpx client. Streams may be many, so its connections are not counted."""
        return {
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=20),
            "follow_redirects": True,
            **self.more,
            **({} if proxy is None else {"proxy": proxy}),
            "event_hooks": {"response": [hook]},
        }


class Http:
    """Sends requests, one after another or from several threads."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._clients: dict[Any, httpx.Client] = {}
        """One for each proxy there was."""
        self._lock = threading.Lock()

    def send(self, ask: Ask, extra: Extra = (), trace: Trace | None = None) -> httpx.Response:
        """The answer, to be read and closed; `trace` is told of what httpcore does meanwhile. Raises
        `httpx.TransportError`, and `Refused` for a redirection that leads nowhere."""
        options = self._options
        headers, auth, proxy = (_now(value) for value in (options.headers, options.auth, options.proxy))
        with self._lock:  # of two threads only one makes it
            if proxy not in self._clients:
                self._clients[proxy] = httpx.Client(**options.for_httpx(proxy, check_location))
            client = self._clients[proxy]
        try:
            return client.send(
                _built(client, ask, extra, headers, auth, trace), stream=True, auth=_for_httpx(auth)
            )
        except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise Refused(f"{ask.url}: {error}") from error

    def close(self) -> None:
        """Closes every connection."""
        while self._clients:
            self._clients.popitem()[1].close()


class AsyncHttp:
    """`Http` for an event loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._clients: dict[Any, httpx.AsyncClient] = {}

    async def send(self, ask: Ask, extra: Extra = (), trace: Trace | None = None) -> httpx.Response:
        """As `Http.send`."""
        options = self._options
        headers, auth, proxy = [await _soon(v) for v in (options.headers, options.auth, options.proxy)]
        if proxy not in self._clients:
            self._clients[proxy] = httpx.AsyncClient(**options.for_httpx(proxy, _check_location))
        client = self._clients[proxy]
        try:
            return await client.send(
                _built(client, ask, extra, headers, auth, trace), stream=True, auth=_for_httpx(auth)
            )
        except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise Refused(f"{ask.url}: {error}") from error

    async def aclose(self) -> None:
        """Closes every connection."""
        while self._clients:
            await self._clients.popitem()[1].aclose()


def check_location(response: httpx.Response) -> None:
    """httpx follows an empty `Location` to where it is, and gives a bad one the class of a cut connection."""
    if response.has_redirect_location:
        location = response.headers["location"].strip()
        try:
            url = httpx.URL(location)
            leads = bool(url.host) if url.scheme in ("http", "https") else bool(location and not url.scheme)
        except (httpx.InvalidURL, ValueError):
            leads = False
        if not leads:
            status = response.status_code
            raise Refused(f"{response.url} answered {status} and leads to {location[:200]!r}: nowhere", status)


async def _check_location(response: httpx.Response) -> None:
    check_location(response)


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
    trace: Trace | None,
) -> httpx.Request:
    """The caller's headers win over ours."""
    merged: dict[str, tuple[str, str | bytes]] = {
        name.lower(): (name, value) for name, value in (*extra, *ask.headers)
    }
    merged |= {name.lower(): (name, value) for name, value in (headers or {}).items()}
    if isinstance(auth, str):
        merged["authorization"] = ("Authorization", f"Bearer {auth}")
    encoded = [(k.encode("ascii"), v if isinstance(v, bytes) else v.encode()) for k, v in merged.values()]
    timeout = httpx.Timeout(CONNECT_SECONDS, read=ask.read_timeout, pool=None)
    extensions = {"trace": trace} if trace else {}
    return client.build_request(
        ask.method, ask.url, content=ask.body, headers=encoded, timeout=timeout, extensions=extensions
    )


def _for_httpx(auth: Auth) -> Any:
    """httpx finds credentials in the URL and in .netrc where it is told of none."""
    return httpx.USE_CLIENT_DEFAULT if auth is None or isinstance(auth, str) else auth
