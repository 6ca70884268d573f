"""Checks of TLS, the HTTP version, and the number of streams of one client."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from typing import NamedTuple

import httpx

from roomcast.doctor.finding import Finding, fault, note, ok
from roomcast.doctor.listening import has_event, listen
from roomcast.doctor.site import SECONDS, Site, hang_up, unverified

AT_ONCE = 8
"""How many streams are opened together: more than the six connections of a browser to one origin."""
_SOON = 14 * 86_400
"""A certificate with fewer seconds left than this should have been renewed."""


class TlsResult(NamedTuple):
    """The result of a TLS handshake."""

    http2: bool
    version: str
    ends: float
    """When the certificate ends, in seconds since 1970; 0 if that is not known."""


async def check(site: Site) -> list[Finding]:
    """Checks the TLS of `site`, its HTTP version, and whether it serves `AT_ONCE` streams to one client."""
    tls = await _handshake(site) if site.url.startswith("https:") else None
    return [_secure(site, tls), _version(site, tls), *await _at_once(site)]


def _secure(site: Site, tls: TlsResult | None) -> Finding:
    if not site.url.startswith("https:"):
        text = "none; this is the same machine" if site.local else "none: anybody in between can read it"
        return note("TLS", text)
    if not site.verify:
        return fault(
            "TLS",
            "the certificate is not trusted, so browsers refuse it",
            "give the proxy, or --tls-cert, one that names this host and its chain",
        )
    if tls and tls.ends and tls.ends - time.time() < _SOON:
        days = (tls.ends - time.time()) / 86_400
        return fault(
            "TLS", f"the certificate ends in {days:.0f} days", "renew it; roomcast itself reads it again at SIGHUP"
        )
    return ok("TLS", f"{tls.version if tls else 'yes'}, the certificate is good")


def _version(site: Site, tls: TlsResult | None) -> Finding:
    if tls and tls.http2:
        return ok("HTTP version", "HTTP/2 is offered: the tabs of a browser share one connection")
    return note(
        "HTTP version",
        "HTTP/1.1: a browser opens six streams to one origin at most (HTTP/2 needs a proxy with TLS)",
    )


async def _at_once(site: Site) -> list[Finding]:
    if not site.follows:
        return []  # already reported by the check of the first event
    recordings = await asyncio.gather(*(listen(site, SECONDS, has_event) for _ in range(AT_ONCE)))
    begun = sum(bool(one.events) for one in recordings)
    if begun == AT_ONCE:
        return [ok("streams", f"{AT_ONCE} at once from this address")]
    return [fault("streams", f"only {begun} of {AT_ONCE} at once from this address began", site.fix("streams"))]


async def _handshake(site: Site) -> TlsResult | None:
    url = httpx.URL(site.url)
    context = ssl.create_default_context() if site.verify else unverified()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(url.host, url.port or 443, ssl=context)
            shown = writer.get_extra_info("ssl_object")
            ends = (shown.getpeercert() or {}).get("notAfter")
            found = TlsResult(
                shown.selected_alpn_protocol() == "h2",
                shown.version(),
                ssl.cert_time_to_seconds(ends) if ends else 0.0,
            )
            await hang_up(writer)
            return found
    return None
