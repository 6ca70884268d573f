"""Addresses of this machine that no other machine can reach."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(address: str) -> bool:
    """Whether the text is a loopback address, such as `127.0.0.1` or `::1`, with or without a zone (`::1%lo`). A
    host name is not one, and neither is any other text."""
    try:
        return ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
