"""Checks of the client: its credential's rights, its page's origin, and its clock."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from roomcast.doctor.finding import Finding, fault, note, ok
from roomcast.doctor.site import Site, object_of, rights_of

_APART = 30.0
"""By how many seconds the clocks may differ: the leeway of tickets and tokens."""


async def credential(site: Site) -> list[Finding]:
    """Checks the rights of the credential that `site` has, by `GET /me`."""
    name = "credential"
    try:
        answer = await site.get("/me")
    except httpx.HTTPError as error:
        return [fault(name, f"GET /me failed ({type(error).__name__})", "pass /me on to roomcast")]
    if answer.status_code in (400, 401):
        return [
            fault(
                name,
                f"refused: {answer.status_code}",
                "set ROOMCAST_TOKEN to a valid key, ticket or token",
            )
        ]
    if answer.status_code == 503:
        fix = "see roomcast's log: the keys of an [[issuer]] cannot be fetched, or a login is away"
        return [fault(name, "the server cannot check it now: 503", fix)]
    if not answer.is_success:
        return [note(name, f"GET /me is answered {answer.status_code}")]
    me = rights_of(answer)
    if not me:
        return [
            fault(name, f"GET /me is answered {answer.status_code}, not by roomcast", "pass /me on to roomcast")
        ]
    return [ok(name, _may(me))]


def room_of(me: dict[str, Any], otherwise: str) -> str:
    """Returns a room that a client with the rights `me` may read. `me` is what `rights_of` returns.

    The room is the first one that `me` names. If `me` names a prefix first, the room is that prefix followed by
    `otherwise`. If the client may read every room or none, or `me` is empty, it is `otherwise`."""
    grants = me.get("read", [])
    if not grants or "*" in grants:
        return otherwise
    first = str(grants[0])
    return first[:-1] + otherwise if first.endswith("*") else first


def _may(me: dict[str, Any]) -> str:
    rights = [f"{verb} {', '.join(me[verb]) or 'nothing'}" for verb in ("read", "publish")]
    rights += [verb for verb in ("metrics", "admin") if me[verb]]
    until = "" if me["expires_in"] is None else f", for {me['expires_in']} s more"
    return f"{me['kind']} {me['name']}".strip() + f": {'; '.join(rights)}{until}"


async def origin(site: Site, page: str) -> list[Finding]:
    """Checks whether a page of the origin `page` may send requests to `site`; not tried if `page` is empty."""
    if not page:
        return [note("CORS", "not tried: give your page's origin, such as --origin https://example.org")]
    try:
        answer = await site.get("/healthz", Origin=page)
        preflight = await site.ask(
            "OPTIONS",
            "/messages",
            Origin=page,
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="authorization, content-type",
        )
    except httpx.HTTPError as error:
        return [fault("CORS", f"no answer ({type(error).__name__})", site.fix("cors"))]
    return [_cors(site, page, answer, preflight)]


def _cors(site: Site, page: str, answer: httpx.Response, preflight: httpx.Response) -> Finding:
    name = "CORS"
    allowed = answer.headers.get_list("access-control-allow-origin")
    if len(allowed) > 1 or "," in "".join(allowed):
        text = f"Access-Control-Allow-Origin is sent twice: {', '.join(allowed)}"
        return fault(name, text, site.fix("cors"))
    if allowed not in ([page], ["*"]):
        return fault(name, f"pages of {page} may not send requests", f"roomcast: --allow-origin {page}")
    fields = preflight.headers.get("access-control-allow-headers", "")
    if not preflight.is_success or "authorization" not in fields:
        text = f"the preflight is answered {preflight.status_code}, not by roomcast"
        return fault(name, text, site.fix("cors"))
    return ok(name, f"pages of {page} may send requests")


def clock(answer: httpx.Response, now: float) -> list[Finding]:
    """Compares the clock of the server that gave this `answer` to `GET /healthz` with ours: `now`, in seconds
    since 1970."""
    told = _time(answer)
    if told is None:
        return [note("clock", "the server does not send its time")]
    apart = told - now
    if abs(apart) > _APART:
        which = "ahead of" if apart > 0 else "behind"
        return [
            fault(
                "clock",
                f"the server's is {abs(apart):.0f} s {which} this machine's",
                "set the one that is wrong: timedatectl set-ntp true",
            )
        ]
    return [ok("clock", f"{abs(apart):.1f} s apart")]


def _time(answer: httpx.Response) -> float | None:
    """The time in `answer`, in seconds since 1970; None if there is none. An older server sends none in the body,
    and a proxy may add a `Date`, which may be malformed."""
    with suppress(ValueError, TypeError, OverflowError):
        return datetime.fromisoformat(object_of(answer).get("time")).timestamp()  # type: ignore[arg-type]
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(answer.headers.get("date")).timestamp()
    return None
