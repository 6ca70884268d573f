"""Origins of pages, as browsers send them (RFC 6454, section 6.2): a scheme, a host, and a port if it is unusual.

An origin is compared with the header `Origin` byte by byte. One that is written differently would never match, so
it is refused with a sentence that gives the form that was probably meant.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

ANY = "*"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
_USUAL_PORTS = {("http", 80), ("https", 443)}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def parse_origin(text: str) -> str:
    """Returns an origin unchanged. Raises `ValueError`; its text continues a sentence that begins with the
    option."""
    if text == ANY:
        return text
    meant = _meant(text)
    if meant != text:
        hint = f": did you mean {meant}?" if meant else ""
        raise ValueError(f"must be {ANY} or an origin such as https://example.com, not {text!r:.200}{hint}")
    return text


def _meant(text: str) -> str | None:
    """The origin that a browser sends for pages of this address; None if it is not an address."""
    try:
        address = urlsplit(text if "://" in text else f"//{text.removeprefix('//')}")
        host, port = ".".join(map(_ascii, (address.hostname or "").split("."))), address.port
    except ValueError:  # also for a host that is not valid Unicode
        return None
    scheme = address.scheme or ("http" if host in _LOOPBACK else "https")
    host = f"[{host}]" if ":" in host else host
    usual = port is None or (scheme, port) in _USUAL_PORTS
    origin = f"{scheme}://{host}" if usual else f"{scheme}://{host}:{port}"
    return origin if _plain(address) and _ORIGIN.fullmatch(origin) else None


def _ascii(label: str) -> str:
    """One label of a host name as browsers send it. Python's codec `idna` implements the standard of 2003, which
    turns ß into ss: that is another host."""
    label.encode()
    return label if label.isascii() else f"xn--{label.encode('punycode').decode()}"


def _plain(address: SplitResult) -> bool:
    """Whether this is the address of a site. A single word is not: sandboxed pages of any site send `null`, which
    must not be taken for a host."""
    named = bool(address.scheme) or "." in address.netloc or ":" in address.netloc or address.netloc == "localhost"
    return named and "@" not in address.netloc
