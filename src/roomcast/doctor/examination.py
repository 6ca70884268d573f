"""Runs all checks, in order and within a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import httpx

from roomcast.doctor import client_side, events, idle, resume, sizes, strangers, streams
from roomcast.doctor.finding import Finding, note, ok
from roomcast.doctor.fixes import NAMES
from roomcast.doctor.site import Site, object_of, rights_of

ROOM = "roomcast-doctor"
IDLE_SECONDS = 35.0
"""How long a silent stream is watched: a little longer than the 30 s after which many proxies cut it."""

Tell = Callable[[Finding], None]


class NotReached(Exception):
    """The URL is not answered, or not by roomcast. The text says why."""


async def examine(site: Site, tell: Tell, *, origin: str = "", idle_seconds: float = IDLE_SECONDS) -> None:
    """Runs all checks of `site`, and passes each finding to `tell` as it comes.

    The other checks run while an idle stream is watched, so the whole takes little longer than `idle_seconds`.
    `origin` is that of the user's page, for CORS. Raises `NotReached`."""
    greeting = await _reach(site)
    await _choose_room(site)
    tell(_server(site, greeting))
    for finding in await events.check(site):  # alone, since it measures milliseconds
        tell(finding)
    watching = asyncio.create_task(idle.check(site, idle_seconds))
    try:
        parts: Sequence[Awaitable[list[Finding]]] = [
            client_side.credential(site),
            resume.check(site),
            _one_by_one(
                streams.check(site), sizes.check(site), strangers.check(site), client_side.origin(site, origin)
            ),
        ]
        for found in await asyncio.gather(*parts):
            for finding in found:
                tell(finding)
        for finding in [*client_side.clock(greeting, site.greeted), *await watching]:
            tell(finding)
    finally:
        watching.cancel()


async def _reach(site: Site) -> httpx.Response:
    try:
        answer = await site.look()
    except httpx.HTTPError as error:
        raise NotReached(str(error) or type(error).__name__) from error
    if not object_of(answer).get("version"):
        raise NotReached(f"GET /healthz is answered {answer.status_code}, and not by roomcast")
    return answer


async def _choose_room(site: Site) -> None:
    """Sets the room if none is named: our own silent one if this client may read it, else a readable one."""
    if site.room:
        return
    site.room = ROOM
    with suppress(httpx.HTTPError):
        site.room = client_side.room_of(rights_of(await site.get("/me")), site.room)


def _server(site: Site, greeting: httpx.Response) -> Finding:
    version = greeting.json()["version"]
    if not site.proxy:
        return ok("server", f"roomcast {version}, no proxy shows itself, {site.trip * 1000:.0f} ms away")
    name = NAMES.get(site.proxy)
    shown = name or f"{site.proxy}, for which no lines are known"
    return (ok if name else note)("server", f"roomcast {version} behind {shown}, {site.trip * 1000:.0f} ms away")


async def _one_by_one(*checks: Awaitable[list[Finding]]) -> list[Finding]:
    """Runs checks that would disturb each other: many streams at once may use up the limit of one address."""
    return [finding for check in checks for finding in await check]
