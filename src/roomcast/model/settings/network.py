"""Addresses and networks, as `--trusted-proxy` takes them."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> str:
    """Returns an address or network unchanged. Raises `ValueError`; its text continues a sentence that begins with
    the option."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        meant = _meant(text)
        hint = f": did you mean {meant}?" if meant else ""
        example = "an address or network such as 10.0.0.7 or 10.0.0.0/8"
        raise ValueError(f"must be {example}, not {text!r:.200}{hint}") from None
    return text


def _meant(text: str) -> Network | None:
    """The network of an address with a prefix length: 10.0.0.0/8 for 10.0.0.7/8. None for any other text."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
