"""Finds the address of a client behind proxies.

A trusted proxy appends the address of its own client to a header. So the header is read from its end: each address
there was written by the proxy after it, and the first that is not a trusted proxy's is the client's. Everything
before it came from the client, which may have written anything.

Only one header is read, the one that `--forwarded-header` names. nginx, HAProxy and Caddy extend
`X-Forwarded-For`, and pass a client's own `Forwarded` on as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from roomcast.api.request import UNIX_ADDRESS
from roomcast.model.settings import FORWARDED
from roomcast.model.settings.network import Address

_BYTES = 512
"""Bytes of a header's end that are read: enough for 10 IPv6 addresses with ports. It bounds the cache, too."""
_CACHED = 1024
"""Maximum number of headers in the cache."""

_NODE = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15}))(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]{1,64}))?"
    r"|([0-9A-Fa-f:.]{2,45})"
)
"""An address, with or without a port (RFC 7239, section 6; some proxies add a port in X-Forwarded-For, too)."""
_PARAMETER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|\"((?:[^\"\\]|\\.)*)\")")


class Forwarded:
    """Reads the header in which trusted proxies name their clients."""

    def __init__(self, trusted: Sequence[str], header: str) -> None:
        """`trusted` are addresses and networks, `header` is `x-forwarded-for` or `forwarded`."""
        self._networks = [ip_network(network) for network in trusted]
        self._header = header
        self._name = header.encode()
        self._client = lru_cache(_CACHED)(self._find)

    def client_of(self, peer: str, values: Mapping[bytes, bytes]) -> str:
        """The client's address. `peer` is the address at the other end of the connection, and `values` are the
        request's own header fields. Returns `peer` if it is not a trusted proxy, or if the header is missing or
        invalid."""
        value = values.get(self._name)
        return peer if value is None else self._client(peer, _end(value))

    def _find(self, peer: str, value: bytes) -> str:
        """The address of the client itself."""
        found = peer
        for address in addresses(self._header, value.decode("latin-1")):
            if address is None or not self.trusts(found):
                break
            found = address
        return found

    def trusts(self, address: str) -> bool:
        """Whether the address is a trusted proxy's. All clients of a socket file are trusted."""
        parsed = _address(address.partition("%")[0])  # without the interface of a link-local address
        return address == UNIX_ADDRESS or (parsed is not None and any(parsed in one for one in self._networks))


def _end(value: bytes) -> bytes:
    """The last bytes of a header, without an incomplete first element."""
    return value if len(value) <= _BYTES else value[-_BYTES:].partition(b",")[2]


def addresses(header: str, value: str) -> Iterator[str | None]:
    """The addresses in the `value` of a header, `x-forwarded-for` or `forwarded`. The last one comes first. Yields
    None for an element without an address, such as `unknown`."""
    for element in _elements(value):
        yield _node(_parameters(element).get("for", "") if header == FORWARDED else element)


def _elements(value: str) -> Iterator[str]:
    """The elements of a list, the last one first. A comma in quotes is a separator, too: a quote that the client
    left open must not hide the element that the proxy appended."""
    return (one for one in (element.strip(" \t") for element in reversed(value.split(","))) if one)


def _parameters(element: str) -> dict[str, str]:
    """The parameters of an element (RFC 7239), by name; none if one of them is invalid or given twice."""
    found: dict[str, str] = {}
    for text in filter(None, (part.strip(" \t") for part in element.split(";"))):
        parameter = _PARAMETER.fullmatch(text)
        if not parameter or parameter[1].lower() in found:
            return {}
        found[parameter[1].lower()] = parameter[2] or re.sub(r"\\(.)", r"\1", parameter[3] or "")
    return found


def _node(text: str) -> str | None:
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
