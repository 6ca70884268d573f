"""The query of a stream or a page: its rooms, where it starts, and its format.

Pure functions. A stream that has started raises no errors; all errors of its query are raised here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

from roomcast.api.parameters import QueryParameters, parameters, whole_number
from roomcast.model.errors import Fault, Invalid, NotAcceptable
from roomcast.model.fields import check
from roomcast.model.rooms import Selection
from roomcast.model.times import is_time, parse_time

MAX_ROOMS = 64
"""Maximum number of rooms that a request may name, prefixes included."""
MAX_LIMIT = 1_000
STREAM, LINES, PAGE = "text/event-stream", "application/x-ndjson", "application/json"
FORMATS = (STREAM, LINES, PAGE)
"""In order of preference between formats of equal quality."""
PARAMETERS = ("room", "prefix", "last_event_id", "since", "replay", "after", "before", "limit")

_CACHED_BYTES = 256
"""Longer values are not cached: clients could fill the memory with them."""
_MAX_ACCEPT = 4_096
"""Browsers send 200 characters. A header of 60 KB names 15,000 ranges, and took 17 ms to read."""
_LAST_ID_NAMES = ("last_event_id", "lasteventid", "last-event-id", "evs_last_event_id")
"""Names of the last id in a query. Upper and lower case count as equal. All but the first are added by polyfills
that reconnect: event-source-polyfill (its users set the name to Mercure's or the header's), and amvtek's
eventsource-polyfill."""

_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,9}")
_QUALITY = re.compile(r"0?\.[0-9]+|0\.?|1(\.0*)?")  # Java's HttpURLConnection sends q=.2


class Everything(NamedTuple):
    """`replay=all`: everything that is retained."""


class Newest(NamedTuple):
    """`replay=N`; `replay=none` is 0."""

    limit: int


class Since(NamedTuple):
    """`since=`: from the first message stored at or after this time, in ms since 1970."""

    time: int


class Ago(NamedTuple):
    """`since=` with a duration, here in ms: from the first message stored within that time."""

    time: int


class After(NamedTuple):
    """A `Last-Event-ID`, exactly as the client sent it."""

    id: str


Origin = Everything | Newest | Since | Ago | After


class Query(NamedTuple):
    """A request for messages."""

    selection: Selection
    origin: Origin
    before: str | None
    """Pages only: the id that the page ends before."""
    limit: int


def parse_query(query_string: bytes) -> Query:
    """Reads `query_string`, the bytes after the `?`. Raises `Invalid`, naming each bad parameter."""
    read = _parse_query if len(query_string) <= _CACHED_BYTES else _parse_query.__wrapped__
    return read(query_string)


def refuse_lists(rooms: Collection[str], exists: Callable[[str], bool]) -> None:
    """Raises `Invalid` for `room=a,b` if there is no room `a,b` but a room `a`: the client meant two rooms.
    `rooms` are the names in the query, and `exists` says whether there is a room with a name."""
    for room in rooms:
        first, comma, _ = room.partition(",")
        if comma and not exists(room) and exists(first.strip()):
            detail = f"does not exist: for several rooms, repeat the parameter, as in {_repeated(room)}"
            raise Invalid(f"room {detail}", [Fault("/room", detail)])


def _repeated(room: str) -> str:
    return "&".join(f"room={quote(name.strip(), safe='')}" for name in room.split(",")[:2])


def preferred_format(accept: str) -> str:
    """The format that an `accept` header prefers (RFC 9110, section 12.5.1), one of FORMATS; empty means any.
    Raises `NotAcceptable`."""
    if len(accept) > _MAX_ACCEPT:
        raise NotAcceptable(f"the Accept header has more than {_MAX_ACCEPT} characters")
    read = _preferred_format if len(accept) <= _CACHED_BYTES else _preferred_format.__wrapped__
    return read(accept)


# A reconnecting crowd sends the same few queries. Cached, they also share one set of rooms in memory.
@lru_cache(1024)
def _parse_query(query_string: bytes) -> Query:
    given = _MessageParameters(parameters(query_string))
    selection = given.selection()
    origin = given.origin()
    before = given.once("before", str)
    limit = given.once("limit", whole_number(MAX_LIMIT))
    given.check()
    return Query(selection, origin, before, 100 if limit is None else limit)


@lru_cache(1024)
def _preferred_format(accept: str) -> str:
    if not accept.strip():
        return STREAM
    ranges = [_media_range(part) for part in accept.split(",")]
    # A browser that navigates here prefers text/html and accepts */*: it gets the stream.
    ranked = [(*_quality(format, ranges), -rank, format) for rank, format in enumerate(FORMATS)]
    quality, _, _, format = max(ranked)
    if not quality:
        raise NotAcceptable(f"this is available as {', '.join(FORMATS)}; Accept was {accept[:200]!r}")
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
    """A format's quality by the most specific matching range, and whether that range names it exactly."""
    masks = {"*": 0, "*/*": 0, format.split("/")[0] + "/*": 1, format: 2}
    specific, quality = max(((masks[m], q) for m, q in ranges if m in masks), default=(0, 0.0))
    return quality, specific == 2


class _MessageParameters(QueryParameters):
    """The parameters of a request for messages."""

    def __init__(self, parameters: Sequence[tuple[str, str]]) -> None:
        # The polyfills' names of the last id are accepted, but never suggested for a misspelled parameter.
        super().__init__(parameters, PARAMETERS, _LAST_ID_NAMES)
        self.last_ids = [(folded, v) for name, v in parameters if (folded := name.lower()) in _LAST_ID_NAMES]

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
        """The newest of the ids in the query. An id under a polyfill's name is newer than one in the page's own
        URL. Of several ids the last is the newest: polyfills append theirs."""
        given = [v for name, v in self.last_ids if v and name != _LAST_ID_NAMES[0]]
        given = given or [v for _, v in self.last_ids if v]
        return given[-1] if given else None


def room_fault(room: str) -> str | None:
    """The fault of `room`, a room's name from a URL; None if it is valid. The text continues a sentence that
    begins with the name."""
    try:
        room.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return check("room", room)


def prefix_fault(prefix: str) -> str | None:
    """The fault of `prefix`, from a URL; None if it is valid. An empty prefix is valid: every name begins with
    it."""
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
    with contextlib.suppress(ValueError):  # not a time, or a month 13
        return Since(parse_time(value))
    wrong = "must be an RFC 3339 time such as 2026-11-22T06:27:00Z, or a duration such as 10m, 2h or 1h30m"
    # The usual mistake in a handwritten URL. The clients pass this text on to people who write no URL.
    if is_time("+".join(value.rsplit(" ", 1))):
        wrong += "; the + before its zone is missing (in a URL, it is written %2B)"
    raise ValueError(wrong)
