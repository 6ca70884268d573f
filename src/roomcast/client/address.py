"""The addresses of servers, checked when they are given: a port of 99999 must not wait for its first request."""

from __future__ import annotations

from urllib.parse import urlsplit

from roomcast.client.errors import shown

EXAMPLE = "http://localhost:8080"


def checked(url: str) -> str:
    """The URL, which httpx can ask. Raises `ValueError`."""
    try:
        parts = urlsplit(url)
        name = (parts.hostname or "").encode("idna")  # raises where that is no name
        good = parts.scheme in ("http", "https") and name and parts.port != 0
    except ValueError:  # a port of 99999 as well
        good = False
    if not good or not url.isprintable() or " " in url:
        raise ValueError(f"{shown(url)!r} is no server's address: write it as {EXAMPLE}")
    return url


def server(url: str) -> str:
    """The address of a roomcast server, to which paths are added. Raises `ValueError`."""
    if "?" in checked(url) or "#" in url:
        raise ValueError(f"{shown(url)!r} is no server's address: leave out what begins with ? or #")
    return url.rstrip("/")
