"""Checks whether large requests that roomcast accepts reach it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import quote

import httpx

from roomcast.doctor.finding import Finding, fault, ok
from roomcast.doctor.site import Site, is_ours

_ROOMS = 64
_LONG_NAME = "doctor-" + "é" * 100
_BODY = b'"' + b"x" * 1_000_000 + b'"'
"""JSON, but not a message: roomcast reads all of it and stores nothing."""


async def check(site: Site) -> list[Finding]:
    """Checks whether a URL of 64 long names (39 KB), and a body of 1 MB, reach `site`."""
    return [await _long_url(site), await _large_body(site)]


async def _long_url(site: Site) -> Finding:
    rooms = "&".join(f"room={quote(_LONG_NAME)}{number:02}" for number in range(_ROOMS))
    path = f"/messages?limit=1&{rooms}"
    url = f"a URL of {len(path) // 1000} KB"
    try:
        answer = await _patiently(lambda: site.get(path, Accept="application/json"))
    except httpx.HTTPError as error:
        return fault("long URL", f"{url} is cut ({type(error).__name__})", site.fix("url"))
    if is_ours(answer):
        return ok("long URL", f"{url} arrives (64 rooms need it)")
    return fault("long URL", f"{url} is answered with {answer.status_code}, not by roomcast", site.fix("url"))


async def _large_body(site: Site) -> Finding:
    try:
        answer = await _patiently(
            lambda: site.ask("POST", "/messages", content=_BODY, Content_Type="application/json")
        )
    except httpx.HTTPError as error:
        return fault("large body", f"a publish of 1 MB is cut ({type(error).__name__})", site.fix("body"))
    if is_ours(answer):
        return ok("large body", "a publish of 1 MB arrives (it was no message, and nothing is stored)")
    return fault(
        "large body", f"a publish of 1 MB is answered with {answer.status_code}, not by roomcast", site.fix("body")
    )


async def _patiently(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer at one of three tries. Varnish sometimes cuts a large body; a size limit always does."""
    for _ in range(2):
        with suppress(httpx.TransportError):
            return await ask()
    return await ask()
