"""Checks of the rights of a client without a credential."""

from __future__ import annotations

import httpx

from roomcast.doctor.finding import Finding, fault, note, ok
from roomcast.doctor.site import Site

_THREE_WAYS = "roomcast: --config with rights, --secret-file, or --open"


async def check(site: Site) -> list[Finding]:
    """Checks the rights of strangers at `site`: whether they look local, and whether metrics and rooms are open to
    them."""
    return [rights_of_strangers(site), await _metrics(site), await _rooms(site)]


def _is_local(site: Site) -> bool:
    """Whether the server takes a stranger for a client on its own machine, which has all rights."""
    return bool(site.stranger.get("admin"))


def rights_of_strangers(site: Site) -> Finding:
    """Returns the finding about the rights that `site` gives a stranger, by its answer to `/me`."""
    name = "strangers"
    if not site.stranger:
        return ok(name, "nobody gets in without a credential")
    if not _is_local(site):
        read = ", ".join(site.stranger.get("read", [])) or "nothing"
        publish = ", ".join(site.stranger.get("publish", [])) or "nothing"
        return note(name, f"without a credential a client may read {read}, and publish to {publish}")
    if not site.local:
        return fault(
            name,
            "the server takes you for somebody on its machine: a proxy does not pass Host and X-Forwarded-For on",
            _THREE_WAYS,
        )
    if site.proxy:
        return fault(name, "clients of this proxy may look as if they were on the server's machine", _THREE_WAYS)
    return ok(name, "only this machine gets in, and you are on it")


async def _metrics(site: Site) -> Finding:
    found = await _open(site, "/metrics", "/metric%73")
    if not found:
        return ok("metrics", "/metrics is closed to strangers")
    if _is_local(site) and site.local and not site.proxy:
        return ok("metrics", "/metrics is open to this machine only")
    if site.local and not site.proxy:
        return note("metrics", "/metrics is open here; hide it from strangers in the proxy, if there is one")
    return fault("metrics", f"{found} is open to strangers", site.fix("metrics"))


async def _rooms(site: Site) -> Finding:
    if not await _open(site, "/rooms?limit=1"):
        return ok("rooms", "/rooms is closed to strangers")
    return note("rooms", "/rooms tells strangers the names of the rooms that they may read")


async def _open(site: Site, *paths: str) -> str:
    """The first of these paths that is served without a credential; empty if none is."""
    mount = httpx.URL(site.url).raw_path.rstrip(b"/")
    async with site.client(credential=False) as client:
        for path in paths:
            try:
                # Sent as the raw target: httpx would decode the path.
                answer = await client.get("/", extensions={"target": mount + path.encode()})
            except httpx.HTTPError:
                continue
            if answer.status_code == 200:
                return path.partition("?")[0]
    return ""
