"""Finds the address of a client behind proxies.

A trusted proxy appends the address of its own client to a header. So the header is read from its end: each address
there was written by the proxy after it, and the first that is not a trusted proxy's is the client's. Everything
before it came from the client, which may have written anything.

Only one header is read, the one that `--forwarded-header` names. nginx, HAProxy and Caddy extend
`X-Forwarded-For`, and pass a client's own `Forwarded` on as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from roomcast.api.request import UNIX_ADDRESS
from roomcast.model.settings import FORWARDED
from roomcast.model.settings.network import Address

_BYTES = 512
"""Bytes of a header's end that are read: enough for 10 IPv6 addresses with ports. It bounds the cache, too."""
_CACHED = 1024
"""Maximum number of headers in the cache."""
_SCHEMES = ("http", "https")

_NODE = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15}))(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]{1,64}))?"
    r"|([0-9A-Fa-f:.]{2,45})"
)
"""An address, with or without a port (RFC 7239, section 6; some proxies add a port in X-Forwarded-For, too)."""
_PARAMETER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"((?:[^\"\\]|\\.)*)\")")


class Hop(NamedTuple):
    """The client of one proxy, as the proxy names it."""

    address: str
    scheme: str | None = None


class Forwarded:
    """Reads the header in which trusted proxies name their clients."""

    def __init__(self, trusted: Sequence[str], header: str) -> None:
        """`trusted` are addresses and networks, `header` is `x-forwarded-for` or `forwarded`."""
        self._networks = [ip_network(network) for network in trusted]
        self._header = header.encode()
        self._hops: Callable[[str], Iterator[Hop]] = _forwarded if header == FORWARDED else _x_forwarded_for
        self._in_forwarded = header == FORWARDED
        self._client = lru_cache(_CACHED)(self._find)

    def client_of(self, peer: str, values: Mapping[bytes, bytes]) -> str:
        """The client's address. `peer` is the address at the other end of the connection, and `values` are the
        request's own header fields. Returns `peer` if it is not a trusted proxy, or if the header is missing or
        invalid."""
        told = values.get(self._header)
        return peer if told is None else self._client(peer, _end(told)).address

    def scheme_of(self, peer: str, values: Mapping[bytes, bytes]) -> str | None:
        """The client's scheme, `http` or `https`; None if no trusted proxy names it."""
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
        """Whether the address is a trusted proxy's. All clients of a socket file are trusted."""
        parsed = _address(address.partition("%")[0])  # without the interface of a link-local address
        return address == UNIX_ADDRESS or (parsed is not None and any(parsed in one for one in self._networks))


def _end(told: bytes) -> bytes:
    """The last bytes of a header, without an incomplete first element."""
    return told if len(told) <= _BYTES else told[-_BYTES:].partition(b",")[2]


def elements(told: str) -> Iterator[str]:
    """The elements of a list, the last one first. A comma in quotes is a separator, too: a quote that the client
    left open must not hide the element that the proxy appended."""
    return (one for one in (element.strip(" \t") for element in reversed(told.split(","))) if one)


def _x_forwarded_for(told: str) -> Iterator[Hop]:
    """The hops from the last one back to the first invalid one."""
    for element in elements(told):
        if (address := node(element)) is None:
            return
        yield Hop(address)


def _forwarded(told: str) -> Iterator[Hop]:
    """The same for a `Forwarded` header (RFC 7239)."""
    for element in elements(told):
        told_of = parameters_of(element)
        if (address := node(told_of.get("for", ""))) is None:
            return
        scheme = told_of.get("proto", "").lower()
        yield Hop(address, scheme if scheme in _SCHEMES else None)


def parameters_of(element: str) -> dict[str, str]:
    """The parameters of an element, by name; none if one of them is invalid or given twice."""
    found: dict[str, str] = {}
    for text in filter(None, (part.strip(" \t") for part in element.split(";"))):
        parameter = _PARAMETER.fullmatch(text)
        if not parameter or parameter[1].lower() in found:
            return {}
        found[parameter[1].lower()] = parameter[2] or re.sub(r"\\(.)", r"\1", parameter[3] or "")
    return found


def node(text: str) -> str | None:
    """The address in a node, as Python writes it; None if it has none, such as `unknown` or `_hidden`."""
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
