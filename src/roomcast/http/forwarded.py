"""Who a request's client is where proxies stand in between.

A trusted proxy adds the address of its own client at the end of a header. So the header is read from its end: each
address there was written by the proxy that follows, and the first that is not a trusted proxy's is the client's.
Whatever stands before it came from the client, which may have written anything.

Only one header is read, the one that `--forwarded-header` names. nginx, HAProxy and Caddy extend
`X-Forwarded-For`, and pass a client's own `Forwarded` on as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from roomcast.api.request import UNIX_PEER
from roomcast.model.settings import FORWARDED
from roomcast.model.settings.network import Address

_BYTES = 512
"""How much of a header's end is read: room for 11 addresses of IPv6. It bounds what the cache holds, too."""
_CACHED = 1024
"""Clients whose header was read before."""
_SCHEMES = ("http", "https")

_NODE = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15}))(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]{1,64}))?"
    r"|([0-9A-Fa-f:.]{2,45})"
)
"""An address, with or without a port (RFC 7239, section 6; some proxies add a port in X-Forwarded-For, too)."""
_PARAMETER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"((?:[^\"\\]|\\.)*)\")")


class Hop(NamedTuple):
    """What one proxy says of its client."""

    address: str
    scheme: str | None = None


class Forwarded:
    """What trusted proxies say of the clients behind them."""

    def __init__(self, trusted: Sequence[str], header: str) -> None:
        """`trusted` are addresses and networks, `header` is `x-forwarded-for` or `forwarded`."""
        self._networks = [ip_network(network) for network in trusted]
        self._header = header.encode()
        self._hops: Callable[[str], Iterator[Hop]] = _forwarded if header == FORWARDED else _x_forwarded_for
        self._in_forwarded = header == FORWARDED
        self._client = lru_cache(_CACHED)(self._find)

    def client_of(self, peer: str, values: Mapping[bytes, bytes]) -> str:
        """The client's address. `peer` is the address at the other end of the connection, `values` are the
        request's own header fields. It is `peer` where that is no trusted proxy, or where the proxy says nothing
        that can be read."""
        told = values.get(self._header)
        return peer if told is None else self._client(peer, _end(told)).address

    def scheme_of(self, peer: str, values: Mapping[bytes, bytes]) -> str | None:
        """`http` or `https`, as the client used it; None where no trusted proxy says so."""
        if self._in_forwarded:
            return self._client(peer, _end(values.get(self._header, b""))).scheme
        told = values.get(b"x-forwarded-proto", b"").decode("latin-1").rpartition(",")[2].strip().lower()
        return told if told in _SCHEMES and self.trusts(peer) else None

    def _find(self, peer: str, told: bytes) -> Hop:
        """The hop of the client itself."""
        found = Hop(peer)
        for hop in self._hops(told.decode("latin-1")):
            if not self.trusts(found.address):
                break
            found = hop
        return found

    def trusts(self, address: str) -> bool:
        """Whether it is a trusted proxy's. All peers of a socket file are."""
        parsed = _address(address.partition("%")[0])  # without the interface of a link-local address
        return address == UNIX_PEER or (parsed is not None and any(parsed in one for one in self._networks))


def _end(told: bytes) -> bytes:
    """The last bytes of a header, without the element that they begin in the middle of."""
    return told if len(told) <= _BYTES else told[-_BYTES:].partition(b",")[2]


def elements(told: str) -> Iterator[str]:
    """The elements of a list, the last one first. Commas in quotes count, too: a quote that the client left open
    must not swallow what the proxy wrote after it."""
    return (one for one in (element.strip(" \t") for element in reversed(told.split(","))) if one)


def _x_forwarded_for(told: str) -> Iterator[Hop]:
    """From the last hop on, up to one that cannot be read."""
    for element in elements(told):
        if (address := node(element)) is None:
            return
        yield Hop(address)


def _forwarded(told: str) -> Iterator[Hop]:
    """RFC 7239, from the last hop on, up to one that cannot be read."""
    for element in elements(told):
        told_of = parameters_of(element)
        if (address := node(told_of.get("for", ""))) is None:
            return
        scheme = told_of.get("proto", "").lower()
        yield Hop(address, scheme if scheme in _SCHEMES else None)


def parameters_of(element: str) -> dict[str, str]:
    """By name; none of them where one cannot be read or is there twice."""
    found: dict[str, str] = {}
    for text in filter(None, (part.strip(" \t") for part in element.split(";"))):
        parameter = _PARAMETER.fullmatch(text)
        if not parameter or parameter[1].lower() in found:
            return {}
        found[parameter[1].lower()] = parameter[2] or re.sub(r"\\(.)", r"\1", parameter[3] or "")
    return found


def node(text: str) -> str | None:
    """The address in it, written as Python writes it; None where it is none, such as `unknown` or `_hidden`."""
    parts = _NODE.fullmatch(text)
    address = _address(parts[1] or parts[2] or parts[3]) if parts else None
    return None if address is None else str(address)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
