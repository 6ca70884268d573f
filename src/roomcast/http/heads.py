"""A cache of request heads by their bytes, so that what many requests share is parsed once.

A publisher on a persistent connection sends the same head each time. The heads of many clients differ little: in a
trace id, a cookie or a key. So a head is looked up first as a whole, then without the one line that varies (by
its template), then by the lines that decide what the request means. It is parsed only if these lines are new. The
other lines are the request's own (`values`) or ignored. The cache never holds a credential.

Only unambiguous heads are handled here: HTTP/1.1, one host, no repeated field, no body without a length. h11
handles all others.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from roomcast.api.request import TICKET, Head, PreparedHead
from roomcast.http.head_fields import DECIDES, MAX_FIELDS, OWN, cut_ticket

T = TypeVar("T")

END: Final = b"\r\n\r\n"
_MAX_ENTRIES = 512
"""Maximum number of heads, and of lines, in the cache."""
_MAX_ENTRY_BYTES = 4 * 1024
"""Longest head in the cache, so that it takes a few MB at most."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN = bytes(n if n == 0x09 or 0x20 <= n != 0x7F else 0x20 for n in range(0x100))
"""`translate` with this table leaves a value unchanged if it has only allowed characters. Deleting these and
looking for a rest took three times as long."""
_REQUEST_LINE = re.compile(rb"([A-Z]{3,20}) (/[\x21-\x7e]*) HTTP/1\.1")
_UNUSUAL = (b"expect", b"transfer-encoding", b"upgrade")
_SECRET = re.compile(rb"(?i)ticket|token|auth|jwt|key|password|secret|%")
"""A query whose names match this may hold a credential, or hide one by `%`, and must not be cached."""
_SECRET_FIELD = re.compile(rb"auth|token|jwt|key|secret|cookie|session|password")
"""Names of other programs' fields that may be credentials."""
_MAX_TEMPLATES = 4
"""Maximum number of templates; each is tried in turn."""
_MAX_DIGITS = 12
"""Maximum digits of a body's length."""

Found = tuple[PreparedHead, Mapping[bytes, bytes], int]
"""A head's result, the request's own fields, and the length of its body in bytes."""
Template = tuple[bytes, bytes, bytes, Found]
"""A head without the value of one field, such as a trace id, a cookie or a key: the bytes before the value, the
bytes after it, the field's name in lower case (empty if it is ignored), and the result of all such heads. A plain
tuple, since it is unpacked for each request."""


class LineKind(enum.Enum):
    """The kinds of lines of a head."""

    IGNORED = 1
    DECIDES = 2
    SHARED = 3
    """A request's own field that is the same in many requests: the line is cached."""
    OWN = 4
    SECRET = 5
    """Another program's field that may be a credential: never cached."""
    WRONG = 6


# An enum's attributes are slow to get.
_IGNORED, _DECIDES, _WRONG = LineKind.IGNORED, LineKind.DECIDES, LineKind.WRONG
_KEPT = (LineKind.IGNORED, LineKind.DECIDES, LineKind.SHARED)
_KINDS = {
    **dict.fromkeys(DECIDES, LineKind.DECIDES),
    **dict.fromkeys(OWN, LineKind.OWN),
    **dict.fromkeys(
        # A browser sends both Sec-Fetch fields with each cookie. If their lines counted as the request's own, such
        # a head would have several own lines and would be taken apart each time, which takes 10 us.
        (b"content-length", b"sec-fetch-mode", b"sec-fetch-site", b"user-agent", b"x-forwarded-proto"),
        LineKind.SHARED,
    ),
}


class Heads:
    """The cache of heads."""

    def __init__(self, prepare: Callable[[Head], PreparedHead]) -> None:
        self._prepare = prepare
        self._whole: dict[bytes, Found] = {}
        """Results by the whole head, for heads that are the same in every request."""
        self._shared: dict[bytes, PreparedHead | None] = {}
        """Results by the lines that decide; None if h11 must parse the head."""
        self._lines: dict[bytes, LineKind] = {}
        """Kinds of lines seen before."""
        self._names: dict[bytes, LineKind] = {}
        """Kinds of field names seen before, as they were written."""
        self._templates: tuple[Template, ...] = ()
        """Heads with one line that varies, the newest first."""

    def find(self, data: bytes) -> Found | None:
        """The result of the head in `data`, from the request line to the blank line, inclusive. None if h11 must
        parse it."""
        found = self._whole.get(data)
        if found is not None:
            return found
        found = self._by_template(data)
        if found is not None:
            return found
        line, version, fields = data.partition(b" HTTP/")
        target, ticket = cut_ticket(line)
        if ticket is None:
            return self._read(data)
        # Without its ticket the head is handled, and cached, like any other.
        data = target + version + fields
        found = self._whole.get(data) or self._by_template(data) or self._read(data)
        return found and (found[0], {**found[1], TICKET: ticket}, found[2])

    def _by_template(self, data: bytes) -> Found | None:
        for before, after, name, found in self._templates:
            # Two comparisons show that the rest of the head is the same.
            if data.startswith(before) and data.endswith(after) and len(data) >= len(before) + len(after):
                value = data[len(before) : -len(after)]
                if value.translate(_PLAIN) == value:
                    return _with(found, name, value.strip(b" \t")) if name else found
        return None

    def _read(self, data: bytes) -> Found | None:
        if data.count(b"\r\n") > MAX_FIELDS + 2:  # with the request line and the blank one
            return None
        lines = data.split(b"\r\n")
        if lines[-2:] != _BLANK:
            return None
        decides = [lines[0]]
        values: dict[bytes, bytes] = {}
        new: list[int] = []
        kinds = self._lines
        for number in range(1, len(lines) - 2):
            line = lines[number]
            kind = kinds.get(line)
            if kind is None:
                kind = self._kind(line)
                new.append(number)
            if kind is _DECIDES:
                decides.append(line)
            elif kind is _WRONG or (kind is not _IGNORED and not _add(values, line)):
                return None
        key = b"\r\n".join(decides)
        came_before = key in self._shared
        found = _found(self._shared[key] if came_before else self._prepared(key), values)
        if found is not None and came_before and len(new) <= 1:
            self._keep(data, lines, new, found)
        return found

    def _keep(self, data: bytes, lines: Sequence[bytes], new: Sequence[int], found: Found) -> None:
        """Caches a head with at most one new line. Of that line it keeps only the name."""
        if not new:
            _keep(self._whole, data, found)
        elif len(data) <= _MAX_ENTRY_BYTES and lines[new[0]].partition(b":")[0].lower() not in DECIDES:
            self._templates = (_template(lines, new[0], found), *self._templates[: _MAX_TEMPLATES - 1])

    def _kind(self, line: bytes) -> LineKind:
        name, colon, value = line.partition(b":")
        kind = self._names.get(name) or self._name(name)
        if not colon or value.translate(_PLAIN) != value:
            return _WRONG
        if kind in _KEPT:
            _keep(self._lines, line, kind)
        return kind

    def _name(self, name: bytes) -> LineKind:
        if not _NAME.fullmatch(name):
            return _WRONG
        other = LineKind.SECRET if _SECRET_FIELD.search(name.lower()) else _IGNORED
        kind = _KINDS.get(name.lower(), other)
        _keep(self._names, name, kind)
        return kind

    def _prepared(self, key: bytes) -> PreparedHead | None:
        head = _parse(key)
        prepared = None if head is None else self._prepare(head)
        query = key.partition(b"\r\n")[0].partition(b"?")[2] if head is None else head.query
        if len(key) <= _MAX_ENTRY_BYTES and not _has_secret(query):
            _keep(self._shared, key, prepared)
        return prepared


_BLANK = [b"", b""]


def _found(prepared: PreparedHead | None, values: Mapping[bytes, bytes]) -> Found | None:
    length = _length(values.get(b"content-length", b"0"))
    return None if prepared is None or length is None else (prepared, values, length)


def _has_secret(query: bytes) -> bool:
    """Whether a query may hold a credential. Takes linear time: one pattern for name and `=` took 9 s for 15,000
    escapes without a `=`."""
    return any(_SECRET.search(part.rpartition(b"=")[0]) for part in query.split(b"&"))


def _length(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) <= _MAX_DIGITS else None


def _with(found: Found, name: bytes, value: bytes) -> Found | None:
    """`found` with one more field."""
    prepared, others, length = found
    values = {**others, name: value}
    return _found(prepared, values) if name == b"content-length" else (prepared, values, length)


def _template(lines: Sequence[bytes], number: int, found: Found) -> Template:
    """The template of a head's lines; the line with this number varies."""
    written = lines[number].partition(b":")[0]
    name = written.lower() if written.lower() in OWN else b""
    prepared, values, length = found
    others = {other: value for other, value in values.items() if other != name}
    before = b"\r\n".join([*lines[:number], written + b":"])
    return before, b"\r\n".join([b"", *lines[number + 1 :]]), name, (prepared, others, length)


def _add(values: dict[bytes, bytes], line: bytes) -> bool:
    """Adds a request's own field; returns False if its name is repeated."""
    name, _, value = line.partition(b":")
    name = name.lower()
    if name in values:
        return False
    if name in OWN:
        values[name] = value.strip(b" \t")
    return True


def _parse(lines: bytes) -> Head | None:
    """A head from its lines, which are valid fields; None if it is ambiguous and h11 must parse it."""
    first, *rest = lines.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    parts = (line.partition(b":") for line in rest)
    fields = {name.lower(): value.strip(b" \t") for name, _, value in parts}
    plain = len(fields) == len(rest) and b"host" in fields and fields.keys().isdisjoint(_UNUSUAL)
    return Head.of(request[1].decode(), request[2], fields) if request and plain else None


def _keep(cache: dict[bytes, T], key: bytes, value: T) -> None:
    if len(cache) >= _MAX_ENTRIES:
        cache.clear()
    if len(key) <= _MAX_ENTRY_BYTES:
        cache[key] = value
