"""Checks of a stream's beginning: whether it arrives at once and unchanged."""

from __future__ import annotations

from roomcast.doctor.finding import Finding, mend, note, ok
from roomcast.doctor.listening import Heard, has_event, listen
from roomcast.doctor.site import SECONDS, Site

_LATE_SECONDS = 0.15
"""A first event later than another answer by this many seconds was delayed. HAProxy delays by 0.2 s."""

_LONG_ID = "roomcast-doctor" * 100


async def check(site: Site) -> list[Finding]:
    """First event, compression, content type and caching."""
    heard = await listen(site, SECONDS, has_event)
    site.follows = bool(heard.events)
    for _ in range(2 if site.follows else 0):  # the best of three, since a short load must not count as a delay
        heard = min(heard, await listen(site, SECONDS, has_event), key=_first_after)
    if heard.answer is None:
        return [mend("first event", f"no answer to a follow within {SECONDS:g} s", site.mends("held"))]
    if heard.answer.status_code != 200:
        return [_refused(site, heard)]
    return [_first(site, heard), await _encoding(site), _kind(site, heard), _cache(site, heard)]


def _first_after(heard: Heard) -> float:
    return heard.events[0][0] if heard.events else SECONDS


def _first(site: Site, heard: Heard) -> Finding:
    name = "first event"
    if not heard.events:
        if heard.sent_away:
            return mend(
                name,
                "the server asks to come back later",
                "see GET /readyz: it drains, is full, or its log is away",
            )
        return mend(name, f"held back: nothing came within {SECONDS:g} s of the answer's head", site.mends("held"))
    after = heard.events[0][0]
    if after > site.trip + _LATE_SECONDS:
        return mend(
            name,
            f"{_ms(after)} after the request, other answers {_ms(site.trip)}: it is waited with",
            site.mends("late"),
        )
    return ok(name, f"at once, {_ms(after)} after the request")


async def _encoding(site: Site) -> Finding:
    # Many proxies compress only long answers. A gap event repeats the id, so a long id makes it long.
    heard = await listen(site, SECONDS, lambda heard: True, resumes=_LONG_ID)
    if heard.answer is None or not heard.answer.is_success:
        return note("compression", "not known: a second follow was not answered")
    encoding = heard.answer.headers.get("content-encoding", "identity")
    if encoding != "identity":
        return mend(
            "compression",
            f"the stream is compressed ({encoding}), so events may wait for others",
            site.mends("compressed"),
        )
    return ok("compression", "none, although it was offered")


def _kind(site: Site, heard: Heard) -> Finding:
    assert heard.answer is not None
    kind = heard.answer.headers.get("content-type", "")
    if kind.replace(" ", "").lower() != "text/event-stream;charset=utf-8":
        return mend(
            "content type", f"{kind or 'none'}: some clients read it as Latin-1, or not at all", site.mends("type")
        )
    return ok("content type", kind)


def _cache(site: Site, heard: Heard) -> Finding:
    assert heard.answer is not None
    said = heard.answer.headers.get("cache-control", "")
    if "no-store" not in said or "no-transform" not in said:
        return mend(
            "caching", f"Cache-Control is {said or 'gone'}: caches may keep the stream", site.mends("cached")
        )
    return ok("caching", said)


def _refused(site: Site, heard: Heard) -> Finding:
    answer = heard.answer
    assert answer is not None
    name = "first event"
    if answer.status_code in (401, 403) and "roomcast" in answer.text:
        detail = str(answer.json().get("detail", ""))
        return (
            note(name, f"not tried: {answer.status_code}, {detail}")
            if not _local_only(answer.text)
            else mend(
                name,
                f"roomcast serves its own machine alone: {detail}",
                "roomcast: --config with rights, --secret-file, or --open",
            )
        )
    return mend(name, f"a follow is answered {answer.status_code}", "see the error page of whatever answers it")


def _local_only(text: str) -> bool:
    return "not-served" in text


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
