"""Checks of an idle stream: whether its heartbeats arrive, and when it is cut."""

from __future__ import annotations

from roomcast.doctor.finding import Finding, mend, note, ok
from roomcast.doctor.listening import Heard, listen
from roomcast.doctor.site import Site

HEARTBEAT = 15.0
"""Longest silence of roomcast in seconds, unless `--heartbeat` changes it."""


async def check(site: Site, seconds: float) -> list[Finding]:
    """Heartbeat, and how long an idle stream lives."""
    if not site.follows:
        return []  # already reported by the check of the first event
    heard = await listen(site, seconds)
    if heard.answer is None or not heard.answer.is_success:
        return [note("idle stream", f"not tried: {heard.failure or 'a second follow was not answered'}")]
    return [_heartbeat(site, heard, seconds), _life(site, heard, seconds)]


def _heartbeat(site: Site, heard: Heard, seconds: float) -> Finding:
    beats = heard.heartbeats
    if beats:
        pauses = [after - before for before, after in zip([heard.head_after, *beats], beats, strict=False)]
        return ok("heartbeat", f"{len(beats)} in {heard.lasted:.0f} s, the longest silence {max(pauses):.1f} s")
    if heard.ended or heard.lasted < HEARTBEAT + 1:
        return note("heartbeat", f"none in {heard.lasted:.1f} s; one is due after {HEARTBEAT:g} s at the latest")
    return mend("heartbeat", f"none came in {heard.lasted:.0f} s: it is held back", site.mends("held"))


def _life(site: Site, heard: Heard, seconds: float) -> Finding:
    if not heard.ended:
        return ok("idle stream", f"still open after {heard.lasted:.0f} s (--idle waits longer)")
    if heard.sent_away:
        return note("idle stream", f"the server ended it after {heard.lasted:.1f} s, and said when to come back")
    return mend("idle stream", f"cut after {heard.lasted:.1f} s", site.mends("cut"))
