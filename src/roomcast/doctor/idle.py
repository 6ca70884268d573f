"""Checks of an idle stream: whether its heartbeats arrive, and when it is cut."""

from __future__ import annotations

from roomcast.doctor.finding import Finding, fault, note, ok
from roomcast.doctor.listening import Recording, listen
from roomcast.doctor.site import Site

HEARTBEAT = 15.0
"""Longest silence of roomcast in seconds, unless `--heartbeat` changes it."""


async def check(site: Site, seconds: float) -> list[Finding]:
    """Watches a silent stream of `site` for `seconds`: whether heartbeats come, and whether it is cut."""
    if not site.follows:
        return []  # already reported by the check of the first event
    recording = await listen(site, seconds)
    if recording.answer is None or not recording.answer.is_success:
        return [note("idle stream", f"not tried: {recording.failure or 'a second follow was not answered'}")]
    return [_heartbeat(site, recording, seconds), _life(site, recording, seconds)]


def _heartbeat(site: Site, recording: Recording, seconds: float) -> Finding:
    beats = recording.heartbeats
    if beats:
        pauses = [after - before for before, after in zip([recording.head_after, *beats], beats, strict=False)]
        return ok(
            "heartbeat", f"{len(beats)} in {recording.lasted:.0f} s, the longest silence {max(pauses):.1f} s"
        )
    if recording.ended or recording.lasted < HEARTBEAT + 1:
        return note(
            "heartbeat", f"none in {recording.lasted:.1f} s; one is due after {HEARTBEAT:g} s at the latest"
        )
    return fault("heartbeat", f"none came in {recording.lasted:.0f} s: it is held back", site.fix("held"))


def _life(site: Site, recording: Recording, seconds: float) -> Finding:
    if not recording.ended:
        return ok("idle stream", f"still open after {recording.lasted:.0f} s (--idle waits longer)")
    if recording.sent_away:
        return note(
            "idle stream", f"the server ended it after {recording.lasted:.1f} s, and said when to come back"
        )
    return fault("idle stream", f"cut after {recording.lasted:.1f} s", site.fix("cut"))
