"""Addresses of this machine that no other machine can reach."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def is_loopback(address: str) -> bool:
    """Whether the text is a loopback address, such as `127.0.0.1`, `::1` or `::ffff:127.0.0.1`, with or without a
    zone (`::1%lo`). A host name is not one, and neither is any other text."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None  # Python looks into it from 3.13 on
    return (mapped or parsed).is_loopback
