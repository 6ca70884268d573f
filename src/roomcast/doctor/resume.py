"""Checks of a client that was cut and resumes with the id of its last event."""

from __future__ import annotations

import json
from contextlib import suppress

from roomcast.client.decode import Event
from roomcast.doctor.finding import Finding, fault, note, ok
from roomcast.doctor.listening import has_event, listen
from roomcast.doctor.site import SECONDS, Site

_STRANGE = "roomcast-doctor"
"""An id that no server gave: if it arrives, roomcast answers that it is malformed."""


async def check(site: Site) -> list[Finding]:
    """Checks whether `Last-Event-ID` reaches `site`, and whether a stream that was cut resumes without a gap."""
    if not site.follows:
        return []  # already reported by the check of the first event
    strange = await listen(site, SECONDS, has_event, Last_Event_ID=_STRANGE)
    if not strange.events:
        return [note("Last-Event-ID", "not tried: a second follow did not begin")]
    first = strange.events[0][1]
    if first.type != "gap" or _after(first) != _STRANGE:
        wrong = "does not arrive: a client that reconnects gets everything again, or misses something"
        return [fault("Last-Event-ID", wrong, site.fix("last-event-id"))]
    return [ok("Last-Event-ID", "arrives"), await _cut(site)]


def _after(gap: Event) -> object:
    """The id that the event `gap` repeats; None if a proxy has changed its data."""
    with suppress(ValueError, KeyError, TypeError):
        return json.loads(gap.data)["after"]
    return None


async def _cut(site: Site) -> Finding:
    """Follows, disconnects, and resumes."""
    before = await listen(site, SECONDS, has_event)
    if not before.events:
        return note("a cut", "not tried: the stream did not begin again")
    after = await listen(site, SECONDS, has_event, Last_Event_ID=before.events[-1][1].id)
    if after.events and after.events[0][1].type != "gap":
        return ok("a cut", f"goes on without a gap, {after.events[0][0] * 1000:.0f} ms after it came back")
    lost = after.events[0][1].data if after.events else "nothing came"
    return note("a cut", f"comes back with a gap: {lost}")
