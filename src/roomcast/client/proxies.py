"""Proxies named by the environment: which one a URL goes through, if any.

httpx reads the same variables, but it takes a network in NO_PROXY for a host with a port, and it fails on a proxy
that it cannot use even where no request would go there. So it is given a transport that decides for each request,
also for one that follows a redirection.
"""

from __future__ import annotations

import ipaddress
import os
import re
import threading
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from roomcast.client.errors import Unreachable, shown

Kind = TypeVar("Kind", bound=httpx.BaseTransport | httpx.AsyncBaseTransport)
Make = Callable[[httpx.Proxy | None], Kind]

_ENTRY = re.compile(r"(?:(?P<scheme>[a-z0-9+.-]+)://)?(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]+))?")
"""A host of NO_PROXY, with its scheme and port where it has them. A bare IPv6 address is none: it is a network."""
_BRACKETS = re.compile(r"^\[([^\]]*)\](/[0-9]+)?$")


class Found(NamedTuple):
    """A proxy of the environment."""

    variable: str
    url: str


def proxy_for(url: httpx.URL) -> Found | None:
    """The proxy that the environment names for this URL; None where it is to be asked directly. Loopback always
    is: behind the proxy, `localhost` would be the proxy's own machine."""
    found = getproxies()
    if _is_loopback(url.host) or _is_excepted(url, found.get("no", "")):
        return None
    for scheme in (url.scheme, "all"):
        if proxy := found.get(scheme):
            return Found(_variable(f"{scheme}_proxy"), proxy if "://" in proxy else f"http://{proxy}")
    return None


class Routes(Generic[Kind]):
    """One transport for each proxy there was, made when it is needed first."""

    def __init__(self, make: Make[Kind]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: dict[Found | None, Kind] = {}

    def to(self, url: httpx.URL) -> Kind:
        """The transport for this URL. Raises `Unreachable` where its proxy cannot be used."""
        found = proxy_for(url)
        with self._lock:
            if found not in self._made:
                self._made[found] = self._make(None) if found is None else self._through(found, url)
            return self._made[found]

    def all(self) -> list[Kind]:
        """Those that were made."""
        with self._lock:
            return [*self._made.values()]

    def _through(self, found: Found, url: httpx.URL) -> Kind:
        try:
            parts = urlsplit(found.url)  # raises where brackets or a port make no sense
            if not parts.hostname or parts.port == 0:
                raise ValueError("it names no host and port")
            return self._make(httpx.Proxy(found.url))
        except ImportError:
            why = "a SOCKS proxy needs the package socksio (pip install 'httpx[socks]')"
        except (ValueError, httpx.InvalidURL) as error:
            why = str(error)
        raise Unreachable(
            f"{shown(url)} cannot be reached: {found.variable}={shown(found.url)} cannot be used: {why}; "
            f"name another proxy, or NO_PROXY={url.host}"
        )


class Routed(httpx.BaseTransport):
    """Sends each request the way that the environment says."""

    def __init__(self, make: Make[httpx.HTTPTransport]) -> None:
        self._routes = Routes(make)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._routes.to(request.url).handle_request(request)

    def close(self) -> None:
        for transport in self._routes.all():
            transport.close()


class AsyncRouted(httpx.AsyncBaseTransport):
    """`Routed` for an event loop."""

    def __init__(self, make: Make[httpx.AsyncHTTPTransport]) -> None:
        self._routes = Routes(make)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._routes.to(request.url).handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._routes.all():
            await transport.aclose()


def _is_loopback(host: str) -> bool:
    address = _address(host)
    if address is None:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")
    inner = getattr(address, "ipv4_mapped", None) or address
    return bool(inner.is_loopback or inner.is_unspecified)


def _is_excepted(url: httpx.URL, no_proxy: str) -> bool:
    return any(_covers(entry.lower(), url) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _covers(entry: str, url: httpx.URL) -> bool:
    """Whether an entry of NO_PROXY means this URL: `*`, a network or address of either kind, a name and all below
    it, each with a scheme and a port where wanted."""
    if entry == "*":
        return True
    if (network := _network(entry)) is not None:
        return (address := _address(url.host)) is not None and address in network
    match = _ENTRY.fullmatch(entry)
    if match is None or match["scheme"] not in (None, "all", url.scheme):
        return False
    if match["port"] and int(match["port"]) != (url.port or (443 if url.scheme == "https" else 80)):
        return False
    if (network := _network(match["host"])) is not None:
        return (address := _address(url.host)) is not None and address in network
    name, host = match["host"].lstrip("*").strip("."), url.host.lower().rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _network(text: str) -> Any:
    """`10.0.0.0/8`, `fd07::/64`, `[fd07::]/64`, `::1`, `[::1]`; None where it is something else."""
    try:
        return ipaddress.ip_network(_BRACKETS.sub(r"\1\2", text), strict=False)
    except ValueError:
        return None


def _address(host: str) -> Any:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _variable(name: str) -> str:
    """As it is written in the environment; the lower case goes before the upper."""
    return next((found for found in (name, name.upper()) if os.environ.get(found)), f"the system's {name}")
