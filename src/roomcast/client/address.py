"""Addresses of servers and proxies. They are checked when they are given: the error for a port of 99999 must not
wait for the first request."""

from __future__ import annotations

from urllib.parse import urlsplit

from roomcast.client.errors import without_password

EXAMPLE = "http://localhost:8080"


def checked(url: str) -> str:
    """Returns `url` if httpx can send a request to it. Raises `ValueError` otherwise; its text shows no
    password."""
    try:
        parts = urlsplit(url)
        name = (parts.hostname or "").encode("idna")  # raises for an invalid host name
        good = parts.scheme in ("http", "https") and name and parts.port != 0
    except ValueError:  # also for a port of 99999
        good = False
    if not good or not url.isprintable() or " " in url:
        raise ValueError(f"{without_password(url)!r} is not the address of a server: write it as {EXAMPLE}")
    return url


def check_proxy(url: str) -> None:
    """Raises `ValueError` if no proxy can have the address `url`: for a port of 99999, httpx would try another one
    again and again. The text of the error shows no password."""
    try:
        parts = urlsplit(url)
        good = parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            f"{without_password(url)!r} is not the address of a proxy: write it as http://proxy.example:3128"
        )


def server(url: str) -> str:
    """Returns `url`, the address of a roomcast server, without a slash at its end. Raises `ValueError` if it is
    not an address, or has a query or a fragment."""
    if "?" in checked(url) or "#" in url:
        raise ValueError(
            f"{without_password(url)!r} is not the address of a server: leave out the part from ? or # on"
        )
    return url.rstrip("/")
