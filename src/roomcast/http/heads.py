"""Heads of requests by their bytes, so that what many requests share is read once.

Who publishes over a connection that is kept sends the same head each time, and a crowd that comes in differs in
little: a trace id, a cookie, a key. So a head is looked up as it is; where it is not known, by those of its lines
that decide what is asked for; and read only where these are new. What is left out is `values` (this request's own)
and what nobody asks for. A credential is always left out: nothing that is kept contains one.

Only heads that leave nothing to be decided are taken: HTTP/1.1, one host, no field twice, no body but one with a
length. All others are for h11.
"""

from __future__ import annotations

import enum
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

from roomcast.api.request import TICKET, Head, Prepared
from roomcast.model.errors import HeadTooLarge

T = TypeVar("T")

END: Final = b"\r\n\r\n"
MOST_FIELDS: Final = 128
"""Of a head: h11 takes 5 us for each, so 10,000 short ones in 64 KiB took 50 ms of one turn of the loop. Browsers
behind two proxies send some 40."""
_KNOWN = 512
"""How many heads, and how many lines, are kept."""
_KNOWN_BYTES = 4 * 1024
"""The longest head that is kept, so that all of them take a few MB at most."""

DECIDES: Final = frozenset({
    b"accept", b"connection", b"content-encoding", b"content-type", b"expect", b"host", b"origin",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
"""Fields that many requests share, and that decide what is asked for."""
OWN: Final = frozenset({
    b"access-control-request-headers", b"authorization", b"content-length", b"cookie", b"forwarded",
    b"idempotency-key", b"if-none-match",
    b"last-event-id", b"sec-fetch-mode", b"sec-fetch-site", b"user-agent", b"x-forwarded-for",
    b"x-forwarded-proto", b"x-real-ip",
})  # fmt: skip
"""Fields that are a request's own."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PLAIN = bytes(n if n == 0x09 or 0x20 <= n != 0x7F else 0x20 for n in range(0x100))
"""A value that is the same after `translate` has only characters that one may have. To delete these, and to see
whether something is left, took three times as long."""
_REQUEST_LINE = re.compile(rb"([A-Z]{3,20}) (/[\x21-\x7e]*) HTTP/1\.1")
_UNUSUAL = (b"expect", b"transfer-encoding", b"upgrade")
_SECRET = re.compile(rb"(?i)ticket|token|auth|jwt|key|password|secret|%")
"""What is in the names of a query that must not be kept: what it is, or that it is written so that it hides."""
_TICKET = string.ascii_letters.encode() + string.digits.encode() + b"-_"
"""What one is made of."""
_SECRET_FIELD = re.compile(rb"auth|token|jwt|key|secret|cookie|session|password")
"""Fields of others' that may be credentials, by name."""
_TEMPLATES = 4
"""How many are kept: each is tried in turn."""
_LONGEST_LENGTH = 12
"""Digits of a body's length."""

Found = tuple[Prepared, Mapping[bytes, bytes], int]
"""What a head says, the request's own fields, and how many bytes its body has."""
Template = tuple[bytes, bytes, bytes, Found]
"""A head but for the value of one field, which a client sends with a trace, a cookie or a key of its own:
what comes before the value, what comes after it, the field's name in lower case (empty where nobody asks for it),
and what all such heads say. A plain tuple: it is taken apart for each request."""


class Kind(enum.Enum):
    """What a line of a head is."""

    IGNORED = 1
    DECIDES = 2
    SHARED = 3
    """A request's own, and the same in many: the line is kept."""
    OWN = 4
    SECRET = 5
    """Of others, and not to be kept."""
    WRONG = 6


# An enum's attributes are slow to get.
_IGNORED, _DECIDES, _WRONG = Kind.IGNORED, Kind.DECIDES, Kind.WRONG
_KEPT = (Kind.IGNORED, Kind.DECIDES, Kind.SHARED)
_KINDS = {
    **dict.fromkeys(DECIDES, Kind.DECIDES),
    **dict.fromkeys(OWN, Kind.OWN),
    **dict.fromkeys(
        # A browser sends the two of Sec-Fetch with each cookie. If their lines were a request's own, such a head
        # would have several of these, and be taken apart each time, which takes 10 us.
        (b"content-length", b"sec-fetch-mode", b"sec-fetch-site", b"user-agent", b"x-forwarded-proto"),
        Kind.SHARED,
    ),
}


class Heads:
    """What is known of heads."""

    def __init__(self, prepare: Callable[[Head], Prepared]) -> None:
        self._prepare = prepare
        self._whole: dict[bytes, Found] = {}
        """By the whole head: those with nothing in them that differs from request to request."""
        self._shared: dict[bytes, Prepared | None] = {}
        """By the lines that decide; None where these are for h11."""
        self._lines: dict[bytes, Kind] = {}
        """Lines that came before."""
        self._names: dict[bytes, Kind] = {}
        """Names of fields that came before, as they were written."""
        self._templates: tuple[Template, ...] = ()
        """The newest first."""

    def find(self, data: bytes) -> Found | None:
        """What a head says, from the request line up to and with the blank line. None where it is for h11."""
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
        # Without its ticket it is a head like any other, that came before or is kept from now on.
        data = target + version + fields
        found = self._whole.get(data) or self._by_template(data) or self._read(data)
        return found and (found[0], {**found[1], TICKET: ticket}, found[2])

    def _by_template(self, data: bytes) -> Found | None:
        for before, after, name, found in self._templates:
            # Two comparisons tell that a head is the same otherwise.
            if data.startswith(before) and data.endswith(after) and len(data) >= len(before) + len(after):
                value = data[len(before) : -len(after)]
                if value.translate(_PLAIN) == value:
                    return _with(found, name, value.strip(b" \t")) if name else found
        return None

    def _read(self, data: bytes) -> Found | None:
        if data.count(b"\r\n") > MOST_FIELDS + 2:  # with the request line and the blank one
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
        """Keeps a head of which at most one line is new; of that one, only its name."""
        if not new:
            _keep(self._whole, data, found)
        elif len(data) <= _KNOWN_BYTES and lines[new[0]].partition(b":")[0].lower() not in DECIDES:
            self._templates = (_template(lines, new[0], found), *self._templates[: _TEMPLATES - 1])

    def _kind(self, line: bytes) -> Kind:
        name, colon, value = line.partition(b":")
        kind = self._names.get(name) or self._name(name)
        if not colon or value.translate(_PLAIN) != value:
            return _WRONG
        if kind in _KEPT:
            _keep(self._lines, line, kind)
        return kind

    def _name(self, name: bytes) -> Kind:
        if not _NAME.fullmatch(name):
            return _WRONG
        other = Kind.SECRET if _SECRET_FIELD.search(name.lower()) else _IGNORED
        kind = _KINDS.get(name.lower(), other)
        _keep(self._names, name, kind)
        return kind

    def _prepared(self, key: bytes) -> Prepared | None:
        head = parse(key)
        prepared = None if head is None else self._prepare(head)
        query = key.partition(b"\r\n")[0].partition(b"?")[2] if head is None else head.query
        if len(key) <= _KNOWN_BYTES and not _has_secret(query):
            _keep(self._shared, key, prepared)
        return prepared


_BLANK = [b"", b""]


def _found(prepared: Prepared | None, values: Mapping[bytes, bytes]) -> Found | None:
    length = _length(values.get(b"content-length", b"0"))
    return None if prepared is None or length is None else (prepared, values, length)


def _has_secret(query: bytes) -> bool:
    """In time linear in its bytes: as one pattern for name and `=` it took 9 s for 15,000 escapes without one."""
    return any(_SECRET.search(part.rpartition(b"=")[0]) for part in query.split(b"&"))


def _length(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) <= _LONGEST_LENGTH else None


def _with(found: Found, name: bytes, value: bytes) -> Found | None:
    """The same with one field more."""
    prepared, others, length = found
    values = {**others, name: value}
    return _found(prepared, values) if name == b"content-length" else (prepared, values, length)


def _template(lines: Sequence[bytes], number: int, found: Found) -> Template:
    """From a head's lines, of which that with this number differs."""
    written = lines[number].partition(b":")[0]
    name = written.lower() if written.lower() in OWN else b""
    prepared, values, length = found
    others = {other: value for other, value in values.items() if other != name}
    before = b"\r\n".join([*lines[:number], written + b":"])
    return before, b"\r\n".join([b"", *lines[number + 1 :]]), name, (prepared, others, length)


def _add(values: dict[bytes, bytes], line: bytes) -> bool:
    """Adds a request's own field; whether it is the only one of its name."""
    name, _, value = line.partition(b":")
    name = name.lower()
    if name in values:
        return False
    if name in OWN:
        values[name] = value.strip(b" \t")
    return True


def parse(lines: bytes) -> Head | None:
    """A head of lines that are known to be fields; None where something is left to be decided."""
    first, *rest = lines.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(first)
    parts = (line.partition(b":") for line in rest)
    fields = {name.lower(): value.strip(b" \t") for name, _, value in parts}
    plain = len(fields) == len(rest) and b"host" in fields and fields.keys().isdisjoint(_UNUSUAL)
    return Head.of(request[1].decode(), request[2], fields) if request and plain else None


def cut_ticket(target: bytes) -> tuple[bytes, bytes | None]:
    """A request's target without the ticket in its query, and the ticket, percent-decoded; several are joined by
    commas, as fields are. So nothing that is kept, logged or answered has a ticket in it."""
    if b"ticket=" not in target:
        return target, None
    before, _, ticket = target.partition(b"ticket=")
    plain = b"?" in before and b"#" not in before and not ticket.translate(None, _TICKET)
    if plain and before.endswith((b"&", b"?")):
        return before.removesuffix(b"&"), ticket  # one, at the end, where ours are
    path, mark, query = target.partition(b"?")
    pairs = query.partition(b"#")[0].split(b"&")
    tickets = [unquote_to_bytes(pair[7:]) for pair in pairs if pair.startswith(b"ticket=")]
    if not tickets:
        return target, None
    others = b"&".join([pair for pair in pairs if not pair.startswith(b"ticket=")])
    return path + mark + others, b", ".join(tickets)


def divided(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Header fields by name in lower case: those that decide, and a request's own. One that is given several times
    is joined by commas (RFC 9110, section 5.3); what nobody asks for is left out."""
    decides: dict[bytes, bytes] = {}
    own: dict[bytes, bytes] = {}
    for name, value in pairs:
        fields = decides if name in DECIDES else own if name in OWN else None
        if fields is not None:
            joined = b"; " if name == b"cookie" else b", "  # RFC 9113, section 8.2.3
            fields[name] = fields[name] + joined + value if name in fields else value
    return decides, own


def _keep(known: dict[bytes, T], key: bytes, value: T) -> None:
    if len(known) >= _KNOWN:
        known.clear()
    if len(key) <= _KNOWN_BYTES:
        known[key] = value


def too_many_fields() -> HeadTooLarge:
    """The error of a head that has more fields than are read."""
    return HeadTooLarge(f"it may have {MOST_FIELDS} fields: send fewer, or let your proxy add fewer")
