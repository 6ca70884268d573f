"""Fetches a JWKS over HTTP: bounded in time and size, and never from another origin."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from roomcast.auth.tokens.jose import VerifyingKey, of_jwk
from roomcast.auth.tokens.text import read_json

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

SECONDS = 5.0
"""Time for the whole fetch, redirects included."""
MOST_BYTES = 256 * 1024
_MOST_REDIRECTS = 3
_LEAST_AGE, _MOST_AGE = 300.0, 86_400.0
_USUAL_PORTS = {"http": 80, "https": 443}
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,10})", re.IGNORECASE)


class CannotFetch(Exception):
    """The keys could not be fetched; its text says why, for the log."""


class Fetched(NamedTuple):
    """The keys of a JWKS."""

    keys: tuple[VerifyingKey, ...]
    seconds: float
    """How long they may be cached."""
    ignored: tuple[str, ...]
    """Why each unusable key is ignored. Keys of other kinds or for other uses are not mentioned."""


async def fetch(url: str) -> Fetched:
    """The keys that `url` serves now. Raises `CannotFetch` if it has no usable key or does not answer in time."""
    try:
        async with asyncio.timeout(SECONDS):
            return await _fetch(url)
    except TimeoutError:
        raise CannotFetch(f"no complete answer within {SECONDS:g} s") from None


async def _fetch(url: str) -> Fetched:
    # In a thread: the import takes 0.1 s, and loading the CA certificates 20 ms.
    client = await asyncio.to_thread(_client)
    async with client:
        body, headers = await _body(client, url)
    return await asyncio.to_thread(_read, body, headers)


def _client() -> AsyncClient:
    import httpx  # late: only a server with the URL of a JWKS needs it

    # Uncompressed: a small compressed answer could expand to gigabytes.
    return httpx.AsyncClient(
        headers={"accept-encoding": "identity", "accept": "application/json"}, timeout=SECONDS
    )


async def _body(client: AsyncClient, url: str) -> tuple[bytes, Mapping[str, str]]:
    import httpx

    target, network = url, None

    async def trace(name: str, info: dict[str, Any]) -> None:
        nonlocal network
        if name.endswith("connect_tcp.complete"):
            network = info["return_value"]
        elif name.endswith("start_tls.failed") and network:
            await network.aclose()  # httpcore leaves it open if `SECONDS` have passed

    try:
        for _ in range(_MOST_REDIRECTS + 1):
            async with client.stream("GET", target, extensions={"trace": trace}) as response:
                if not response.has_redirect_location:
                    return await _whole(response), response.headers
                target = _redirected(target, response.headers["location"])
    except httpx.HTTPError as error:
        raise CannotFetch(f"{type(error).__name__}: {error}"[:200]) from None
    except (httpx.InvalidURL, ValueError):
        raise CannotFetch("it redirects to an invalid URL") from None
    raise CannotFetch(f"it redirects more than {_MOST_REDIRECTS} times")


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    if _origin(target) != _origin(url):
        raise CannotFetch("it redirects to another origin")
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 6454, section 4): `https://a` and `https://a:443` are the same origin."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, _USUAL_PORTS.get(parts.scheme) if parts.port is None else parts.port


async def _whole(response: Response) -> bytes:
    if response.status_code != 200:
        raise CannotFetch(f"its status is {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise CannotFetch("it is compressed, although an uncompressed answer was requested")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MOST_BYTES:
            raise CannotFetch(f"it has more than {MOST_BYTES // 1024} KiB")
    return bytes(body)


def _read(body: bytes, headers: Mapping[str, str]) -> Fetched:
    try:
        found = read_json(body)
    except ValueError:
        raise CannotFetch("it is not JSON") from None
    rows = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise CannotFetch("it is not a JWKS: it has no list of keys")
    keys, ignored = _keys(rows)
    if not keys:  # an empty set would end every session, and is usually a mistake
        raise CannotFetch("; ".join(["it has no usable key", *ignored]))
    return Fetched(tuple(keys), _age(headers.get("cache-control", "")), tuple(ignored))


def _keys(rows: list[Any]) -> tuple[list[VerifyingKey], list[str]]:
    keys, ignored = [], []
    for number, row in enumerate(rows):
        try:
            if isinstance(row, dict) and (key := of_jwk(row)):
                keys.append(key)
        except ValueError as error:
            ignored.append(f"key {number}: {error}")
    return keys, ignored


def _age(cache_control: str) -> float:
    given = _MAX_AGE.search(cache_control)
    return min(_MOST_AGE, max(_LEAST_AGE, float(given[1]) if given else _LEAST_AGE))
