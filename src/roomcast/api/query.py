"""What a request for a stream or a page asks for: its rooms, where it starts, and in which format.

Everything is data in, data out; the errors raised here are the only ones before a stream starts.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from roomcast.api.parameters import Given, parameters, whole_number
from roomcast.model.errors import Fault, Invalid, NotAcceptable
from roomcast.model.fields import check
from roomcast.model.rooms import Selection
from roomcast.model.times import is_time, parse_time

MAX_ROOMS = 64
"""That a request names, prefixes included."""
MAX_LIMIT = 1_000
STREAM, LINES, PAGE = "text/event-stream", "application/x-ndjson", "application/json"
FORMATS = (STREAM, LINES, PAGE)
"""In the order that wins between equals."""
PARAMETERS = ("room", "prefix", "last_event_id", "since", "replay", "after", "before", "limit")

_CACHED_BYTES = 256
"""Longer ones are read anew each time: a cache of them would be a place to fill the memory from outside."""
_MAX_ACCEPT = 4_096
"""Browsers send 200 characters. One of 60 KB names 15,000 ranges, and took 17 ms to read."""
_RESUMES = ("last_event_id", "lasteventid", "last-event-id", "evs_last_event_id")
"""How a query names the last id, in any case of its letters. Polyfills add all but the first when they reconnect:
event-source-polyfill (its users set the name to Mercure's or the header's), and amvtek's eventsource-polyfill."""

_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}")
_QUALITY = re.compile(r"0?\.[0-9]+|0\.?|1(\.0*)?")  # Java's HttpURLConnection sends q=.2


class Everything(NamedTuple):
    """`replay=all`: all that is retained."""


class Newest(NamedTuple):
    """`replay=N`; `replay=none` is 0."""

    limit: int


class Since(NamedTuple):
    """`since=`: from the first message stored at or after this time, in ms since 1970."""

    time: int


class Ago(NamedTuple):
    """`since=` with a duration: from the first message that was stored no longer ago, in ms."""

    time: int


class After(NamedTuple):
    """A `Last-Event-ID`, just as the client sent it."""

    id: str


Origin = Everything | Newest | Since | Ago | After


class Query(NamedTuple):
    """A request for messages."""

    selection: Selection
    origin: Origin
    before: str | None
    """Pages only: the id that the page ends before."""
    limit: int


def query(query_string: bytes, last_event_id: str) -> Query:
    """What the query string and the `Last-Event-ID` header (empty where there is none, and as clients send it that
    have none) say. Raises `Invalid`, naming each parameter."""
    read = _query if len(query_string) <= _CACHED_BYTES else _query.__wrapped__
    asked = read(query_string)
    last_event_id = last_event_id.strip(" \t")  # llhttp leaves it behind a value (RFC 9110, section 5.5)
    return asked._replace(origin=After(last_event_id)) if last_event_id else asked


def refuse_lists(rooms: Collection[str], exists: Callable[[str], bool]) -> None:
    """Raises `Invalid` for `room=a,b` where that is the name of no room and `a` of one: two rooms were meant."""
    for room in rooms:
        first, comma, _ = room.partition(",")
        if comma and not exists(room) and exists(first.strip()):
            detail = f"is the name of no room: for several, repeat it, as in {_repeated(room)}"
            raise Invalid(f"room {detail}", [Fault("/room", detail)])


def _repeated(room: str) -> str:
    return "&".join(f"room={quote(name.strip(), safe='')}" for name in room.split(",")[:2])


def preferred(accept: str) -> str:
    """The format that an `Accept` header (RFC 9110, section 12.5.1) wants most. Raises `NotAcceptable`."""
    if len(accept) > _MAX_ACCEPT:
        raise NotAcceptable(f"the Accept header has more than {_MAX_ACCEPT} characters")
    read = _preferred if len(accept) <= _CACHED_BYTES else _preferred.__wrapped__
    return read(accept)


# A crowd that reconnects asks the same few things; read once, they also share one set of rooms in memory.
@lru_cache(1024)
def _query(query_string: bytes) -> Query:
    given = _Given(parameters(query_string))
    selection = given.selection()
    origin = given.origin()
    before = given.once("before", str)
    limit = given.once("limit", whole_number(MAX_LIMIT))
    given.check()
    return Query(selection, origin, before, 100 if limit is None else limit)


@lru_cache(1024)
def _preferred(accept: str) -> str:
    if not accept.strip():
        return STREAM
    ranges = [_media_range(part) for part in accept.split(",")]
    # A browser that navigates names text/html first and takes */*: it is shown the stream.
    ranked = [(*_quality(format, ranges), -rank, format) for rank, format in enumerate(FORMATS)]
    quality, _, _, format = max(ranked)
    if not quality:
        raise NotAcceptable(f"this is offered as {', '.join(FORMATS)}; Accept was {accept[:200]!r}")
    return format


def _media_range(part: str) -> tuple[str, float]:
    media, *parameters = (p.strip().lower() for p in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media, _q(value.strip())
    return media, 1.0


def _q(value: str) -> float:
    return float(value) if _QUALITY.fullmatch(value) else 0.0


def _quality(format: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, bool]:
    """The quality of a format, given by the most specific range, and whether that names the format itself."""
    masks = {"*": 0, "*/*": 0, format.split("/")[0] + "/*": 1, format: 2}
    specific, quality = max(((masks[m], q) for m, q in ranges if m in masks), default=(0, 0.0))
    return quality, specific == 2


class _Given(Given):
    """The parameters of a request for messages."""

    def __init__(self, parameters: Sequence[tuple[str, str]]) -> None:
        # Polyfills' names of the last id are known, and no near misses.
        super().__init__(parameters, PARAMETERS, _RESUMES)
        self.resumes = [(folded, v) for name, v in parameters if (folded := name.lower()) in _RESUMES]

    def selection(self) -> Selection:
        rooms, prefixes = self.values.get("room", []), self.values.get("prefix", [])
        if not rooms and not prefixes:
            self.faults.append(
                Fault("/room", "is missing: name what to follow, as in ?room=developers or ?prefix=team/")
            )
        if (number := len(rooms) + len(prefixes)) > MAX_ROOMS:
            what = f"is given {number} times" + (", with the prefixes" if prefixes else "")
            self.faults.append(Fault("/room", f"{what}: follow at most {MAX_ROOMS} rooms"))
        self.faults += [Fault("/room", wrong) for room in rooms[:MAX_ROOMS] if (wrong := room_fault(room))]
        self.faults += [Fault("/prefix", wrong) for each in prefixes[:MAX_ROOMS] if (wrong := prefix_fault(each))]
        return Selection.of(rooms, prefixes)

    def origin(self) -> Origin:
        replay = self.once("replay", _replay)
        since = self.once("since", _since)
        resumed = (self._last_event_id(), self.once("after", str))
        if "since" in self.values and "replay" in self.values:
            self.faults.append(Fault("/since", "cannot be given together with replay"))
        return next((After(v) for v in resumed if v), None) or since or replay or Everything()

    def _last_event_id(self) -> str | None:
        """The newest of those given. An id that a library added is newer than the URL it was given; of equals the
        last is, since polyfills append theirs to a URL that may have one."""
        given = [v for name, v in self.resumes if v and name != _RESUMES[0]]
        given = given or [v for _, v in self.resumes if v]
        return given[-1] if given else None


def room_fault(room: str) -> str | None:
    """What is wrong with a room's name as it stood in a URL, or None."""
    try:
        room.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return check("room", room)


def prefix_fault(prefix: str) -> str | None:
    """The fault of a prefix as it stood in a URL, or None. All names begin with nothing."""
    return room_fault(prefix) if prefix else None


def _replay(value: str) -> Origin:
    if value == "all":
        return Everything()
    if value == "none":
        return Newest(0)
    if not _COUNT.fullmatch(value):
        raise ValueError("must be all, none, or how many of the newest messages")
    return Newest(int(value))


def _since(value: str) -> Since | Ago:
    if (duration := _DURATION.fullmatch(value)) and value:
        days, hours, minutes, seconds = (int(part or 0) for part in duration.groups())
        return Ago((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000)
    with contextlib.suppress(ValueError):  # no time, or a month 13
        return Since(parse_time(value))
    wrong = "must be an RFC 3339 time such as 2026-11-22T06:27:00Z, or a duration such as 10m, 2h or 1h30m"
    # The commonest reason, and seen by those alone who wrote a URL.
    if is_time("+".join(value.rsplit(" ", 1))):
        wrong += "; in a URL, a + is written %2B"
    raise ValueError(wrong)
