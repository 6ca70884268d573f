"""Checks of a stream's beginning: whether it arrives at once and unchanged."""

from __future__ import annotations

from roomcast.doctor.finding import Finding, fault, note, ok
from roomcast.doctor.listening import Recording, has_event, listen
from roomcast.doctor.site import SECONDS, Site, is_ours, object_of

_LATE_SECONDS = 0.15
"""A first event is late if it comes this many seconds later than another answer. HAProxy delays by 0.2 s."""

_LONG_ID = "roomcast-doctor" * 100


async def check(site: Site) -> list[Finding]:
    """Checks a stream of `site` for its first event, its compression, content type and caching. Sets
    `site.follows`, which later checks of streams need."""
    recording = await listen(site, SECONDS, has_event)
    site.follows = bool(recording.events)
    for _ in range(2 if site.follows else 0):  # the best of three: a moment of load is no delay
        recording = min(recording, await listen(site, SECONDS, has_event), key=_first_after)
    if recording.answer is None:
        return [fault("first event", f"no answer to a follow within {SECONDS:g} s", site.fix("held"))]
    if recording.answer.status_code != 200:
        return [_refused(recording)]
    return [_first(site, recording), await _encoding(site), _kind(site, recording), _cache(site, recording)]


def _first_after(recording: Recording) -> float:
    return recording.events[0][0] if recording.events else SECONDS


def _first(site: Site, recording: Recording) -> Finding:
    name = "first event"
    if not recording.events:
        if recording.sent_away:
            return fault(
                name,
                "the server tells clients to come back later",
                "see GET /readyz: it drains, is full, or its log is away",
            )
        return fault(name, f"held back: nothing came within {SECONDS:g} s of the answer's head", site.fix("held"))
    after = recording.events[0][0]
    if after > site.trip + _LATE_SECONDS:
        return fault(
            name,
            f"{_ms(after)} after the request, other answers {_ms(site.trip)}: something holds it back",
            site.fix("late"),
        )
    return ok(name, f"at once, {_ms(after)} after the request")


async def _encoding(site: Site) -> Finding:
    # Many proxies compress only long answers. A gap event repeats the id, so a long id makes it long.
    recording = await listen(site, SECONDS, lambda recording: True, resumes=_LONG_ID)
    if recording.answer is None or not recording.answer.is_success:
        return note("compression", "not known: a second follow was not answered")
    encoding = recording.answer.headers.get("content-encoding", "identity")
    if encoding != "identity":
        return fault(
            "compression",
            f"the stream is compressed ({encoding}), so events may wait for others",
            site.fix("compressed"),
        )
    return ok("compression", "none, although this client accepts it")


def _kind(site: Site, recording: Recording) -> Finding:
    assert recording.answer is not None
    kind = recording.answer.headers.get("content-type", "")
    if kind.replace(" ", "").lower() != "text/event-stream;charset=utf-8":
        return fault(
            "content type", f"{kind or 'none'}: some clients read it as Latin-1, or not at all", site.fix("type")
        )
    return ok("content type", kind)


def _cache(site: Site, recording: Recording) -> Finding:
    assert recording.answer is not None
    said = recording.answer.headers.get("cache-control", "")
    if "no-store" not in said or "no-transform" not in said:
        return fault(
            "caching", f"Cache-Control is {said or 'gone'}: caches may keep the stream", site.fix("cached")
        )
    return ok("caching", said)


def _refused(recording: Recording) -> Finding:
    answer = recording.answer
    assert answer is not None
    name, status = "first event", answer.status_code
    if status not in (401, 403) or not is_ours(answer):
        return fault(name, f"a follow is answered {status}", "look at that answer: its page says who gave it")
    detail = str(object_of(answer).get("detail", ""))
    if "not-served" in answer.text:
        text = f"roomcast serves only its own machine: {detail}"
        return fault(name, text, "roomcast: --config with rights, --secret-file, or --open")
    return note(name, f"not tried: {status}, {detail}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
