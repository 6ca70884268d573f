"""Addresses and networks, as `--trusted-proxy` takes them."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""All IPv4 addresses, as IPv6 writes them (RFC 4291, section 2.5.5.2)."""


def parse_network(text: str) -> str:
    """Returns an address or network unchanged. Raises `ValueError`; its text continues a sentence that begins with
    the option."""
    meant = _meant(text)
    try:
        good = ipaddress.ip_network(text) == meant
    except ValueError:
        good = False
    if not good:
        hint = f": did you mean {meant}?" if meant else ""
        example = "an address or network such as 10.0.0.7 or 10.0.0.0/8"
        raise ValueError(f"must be {example}, not {text!r:.200}{hint}")
    return text


def _meant(text: str) -> Network | None:
    """The network of an address with a prefix length: 10.0.0.0/8 for 10.0.0.7/8. An IPv4 network that is written
    as IPv6 is the IPv4 network, which is what clients are compared with. None for any other text."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        ipv4 = network.network_address.ipv4_mapped
        return ipaddress.ip_network(f"{ipv4}/{network.prefixlen - _MAPPED.prefixlen}")
    return network
