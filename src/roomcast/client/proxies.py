"""The proxy that the environment names for a URL.

httpx reads the same variables, but it reads a network in NO_PROXY as a host with a port, and it fails on an
unusable proxy even if no request would use that proxy. So we give httpx a transport that decides for each request,
including one that follows a redirect.
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

from roomcast.client.errors import Unreachable, without_password

Transport = TypeVar("Transport", bound=httpx.BaseTransport | httpx.AsyncBaseTransport)
MakeTransport = Callable[[httpx.Proxy | None, bool], Transport]
"""Makes the transport through a proxy, or without one; with TLS if the second argument is true."""

_ENTRY = re.compile(r"(?:(?P<scheme>[a-z0-9+.-]+)://)?(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]+))?")
"""A host of NO_PROXY, with an optional scheme and port. A bare IPv6 address counts as a network."""
_BRACKETS = re.compile(r"^\[([^\]]*)\](/[0-9]+)?$")


class EnvironmentProxy(NamedTuple):
    """A proxy of the environment."""

    variable: str
    url: str


def proxy_for(url: httpx.URL) -> EnvironmentProxy | None:
    """The proxy that the environment names for `url`; None for a direct connection. Connections to loopback are
    always direct: behind the proxy, `localhost` would be the proxy's own machine."""
    found = getproxies()
    if _is_loopback(url.host) or _is_excepted(url, found.get("no", "")):
        return None
    for scheme in (url.scheme, "all"):
        if proxy := found.get(scheme):
            return EnvironmentProxy(_variable(f"{scheme}_proxy"), proxy if "://" in proxy else f"http://{proxy}")
    return None


class Routes(Generic[Transport]):
    """One transport for each proxy, and for http and https each, made when it is first needed."""

    def __init__(self, make: MakeTransport[Transport]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: dict[tuple[EnvironmentProxy | None, bool], Transport] = {}

    def to(self, url: httpx.URL) -> Transport:
        """The transport for `url`. Raises `Unreachable` if its proxy cannot be used."""
        found, tls = proxy_for(url), url.scheme == "https"
        with self._lock:
            if (found, tls) not in self._made:
                made = self._make(None, tls) if found is None else self._through(found, url, tls)
                self._made[found, tls] = made
            return self._made[found, tls]

    def all(self) -> list[Transport]:
        """All transports that were made."""
        with self._lock:
            return [*self._made.values()]

    def _through(self, found: EnvironmentProxy, url: httpx.URL, tls: bool) -> Transport:
        try:
            parts = urlsplit(found.url)  # raises for a bad port or bad brackets
            if not parts.hostname or parts.port == 0:
                raise ValueError("it names no host and port")
            return self._make(httpx.Proxy(found.url), tls)
        except ImportError:
            why = "a SOCKS proxy needs the package socksio (pip install 'httpx[socks]')"
        except (ValueError, httpx.InvalidURL) as error:
            why = str(error)
        proxy = f"{found.variable}={without_password(found.url)}"
        raise Unreachable(
            f"{without_password(url)} cannot be reached: {proxy} cannot be used: {why}; "
            f"name another proxy, or set NO_PROXY={url.host}"
        )


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
    """Whether an entry of NO_PROXY covers this URL. An entry is `*`, a network, an IPv4 or IPv6 address, or a
    name, which covers its subdomains, too; scheme and port are optional."""
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
    """`10.0.0.0/8`, `fd07::/64`, `[fd07::]/64`, `::1`, `[::1]`; None for anything else."""
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
    """The variable as it is written in the environment; lower case overrides upper case."""
    return next((found for found in (name, name.upper()) if os.environ.get(found)), f"the system's {name}")
