"""What may be published: each field's rule stands here once, and nowhere else.

The rules serve three readers: msgspec checks by them, `/openapi.json` publishes them, and a refusal quotes
their descriptions. The first pass is one typed decode in C; only what it refuses is looked at a second time,
field by field, to name everything that is wrong at once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from roomcast.model.errors import Fault, Invalid, Malformed, TooLarge
from roomcast.model.message import Draft

MAX_BATCH = 1_000
MAX_NESTING = 100
"""Arrays and objects inside each other in `data`. What is stored once is read by everybody who follows, and
readers give up early: Ruby and serde at some 100 levels, PHP at 512, Python and Jackson at 1,000."""
_MAX_FAULTS = 100
"""Against a body that is wrong in 100,000 places: naming them all would hold up the loop for seconds."""
_MAX_NAME = 64
"""The longest name that is compared with known ones, and quoted."""
_UNREADABLE = (
    "has a number that others cannot read: beyond a double's range, or an integer of more than 4,300 digits"
)
RESERVED_TYPES = ("gap", "live", "open", "error", "message")

# `$` also matches before a final line feed in Python, hence the look-ahead behind it; JavaScript agrees.
_NO_CONTROLS = r"[^\x00-\x1f\x7f-\x9f]{1,128}$(?!\n)"

RoomName = Annotated[
    str,
    Meta(
        pattern=r"^(?!\$)" + _NO_CONTROLS,
        description="1 to 128 characters, no control characters, not starting with $",
    ),
]
UserName = Annotated[
    str, Meta(pattern="^" + _NO_CONTROLS, description="1 to 128 characters, no control characters")
]
EventType = Annotated[
    str,
    Meta(
        # `event: error` would fire every page's onerror; the others are the stream's own words.
        pattern=rf"^(?!(?:{'|'.join(RESERVED_TYPES)})$)(?!roomcast\.)[^\r\n\x00]{{1,64}}$(?!\n)",
        description="1 to 64 characters without CR, LF or NUL, none of the reserved "
        + ", ".join(RESERVED_TYPES)
        + ", and not starting with roomcast.",
    ),
]
Text = Annotated[str, Meta(min_length=1, description="a string of at least one character")]


class Publication(Struct, forbid_unknown_fields=True):
    """A message as its publisher writes it. `text` may be left out where `data` is there."""

    room: RoomName
    user: UserName = "anonymous"
    text: Text | UnsetType = UNSET
    type: EventType | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


_RULES: dict[str, Any] = {"room": RoomName, "user": UserName, "text": Text, "type": EventType, "data": Any}
_EXAMPLE = '{"text": "was geht ab in buxtehude?", "room": "developers"}'
_NEITHER = "is missing: a message has text, data, or both"
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE = bytes.maketrans(b"{}", b"[]")
_LINE_ENDS = {end.encode(): b"\\u%04x" % ord(end) for end in "\x85\u2028\u2029"}
"""Some clients end lines at these as well (Python's str.splitlines, and so httpx): never sent as they are."""

_one = msgspec.json.Decoder(Publication)
_many = msgspec.json.Decoder(list[Publication])
_any = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


class Request(NamedTuple):
    """A publish request that may be stored."""

    drafts: Sequence[Draft]
    batch: bool
    """Whether it came as an array or as lines, and is answered with an array."""


Parser = Callable[[bytes, int], Request]
"""From a body, and how many bytes a stored message may have."""


def parse_json(body: bytes, max_message: int) -> Request:
    """One message, or an array of 1 to 1,000. Raises `Malformed`, `Invalid`, `TooLarge` (a message's stored
    body is at most `max_message` bytes)."""
    batch = body.lstrip(b" \t\r\n")[:1] == b"["
    try:
        if batch:
            return Request(_drafts(_many.decode(body), True, max_message), True)
        return Request([draft(_one.decode(body), max_message)], False)
    except msgspec.ValidationError:
        value = _decoded(body)
        _refuse(list(value) if batch else [value], batch)
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error) from None


def parse_lines(body: bytes, max_message: int) -> Request:
    """NDJSON: one message a line, empty lines skipped. Raises as `parse_json` does."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    try:
        publications = [_one.decode(line) for line in lines]
        return Request(_drafts(publications, True, max_message), True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse([_decoded(line, f"/{n}") for n, line in enumerate(lines)], True)
        raise _malformed(error) from None


def draft(publication: Publication, max_message: int, at: str = "") -> Draft:
    """The message to store. Raises `Invalid`, `Malformed`, `TooLarge`, and as JSON does for `data`."""
    if publication.data is not UNSET:
        publication.data = _compact(bytes(publication.data), f"{at}/data")
    elif publication.text is UNSET:
        raise _invalid([Fault(f"{at}/text", _NEITHER)])
    body = _encode(publication)
    if not body.isascii():
        for end, escaped in _LINE_ENDS.items():
            body = body.replace(end, escaped)
    if len(body) > max_message:
        detail = f"the message takes {len(body)} bytes, more than the {max_message} that one may have"
        raise TooLarge(detail, [Fault(at, detail)])
    return Draft(publication.room, None if publication.type is UNSET else publication.type, body)


def _compact(data: bytes, at: str) -> Raw:
    """`data` as it was written, without its white space."""
    try:
        _any.decode(data)  # Raw was skipped over, not checked: bad UTF-8, 1e999, lone surrogates
    except msgspec.ValidationError:
        raise _invalid([Fault(at, _UNREADABLE)]) from None
    if _too_deep(data):
        detail = f"it is nested deeper than {MAX_NESTING} levels"
        raise Malformed(f"{at} is not JSON that everybody can read: {detail}", [Fault(at, detail)])
    return Raw(msgspec.json.format(data, indent=-1))


def _too_deep(data: bytes) -> bool:
    if data.count(b"[") + data.count(b"{") <= MAX_NESTING:
        return False
    brackets = _STRINGS.sub(b"", data).translate(_SQUARE, _NOT_BRACKETS)
    for _ in range(MAX_NESTING):
        brackets = brackets.replace(b"[]", b"")  # each time the innermost level
    return bool(brackets)


def check(name: str, value: object) -> str | None:
    """What is wrong with a field's value, or None."""
    try:
        msgspec.convert(value, _RULES[name])
    except msgspec.ValidationError:
        rule = msgspec.json.schema(_RULES[name])["description"]
        return f"must be {rule}" if isinstance(value, str) else f"must be a string: {rule}"
    return None


def near_miss(name: str, known: Sequence[str], cutoff: float = 0.8) -> str | None:
    """The known name that `name` was probably meant to be, or None."""
    plain = "".join(c for c in name[:_MAX_NAME].lower() if c.isalnum())
    folded = {k.replace("_", ""): k for k in known}
    found = difflib.get_close_matches(plain, folded, 1, cutoff)
    return folded[found[0]] if found else None


def _drafts(publications: Sequence[Publication], batch: bool, max_message: int) -> list[Draft]:
    _check_count(publications)
    drafts: list[Draft] = []
    faults: list[Fault] = []
    for n, publication in enumerate(publications):
        try:
            drafts.append(draft(publication, max_message, f"/{n}" if batch else ""))
        except Invalid as error:
            faults += error.faults
    if faults:
        raise _invalid(faults)
    return drafts


def _check_count(batch: Sequence[Any]) -> None:
    if not 1 <= len(batch) <= MAX_BATCH:
        raise _invalid([Fault("", f"must be 1 to {MAX_BATCH} messages, these are {len(batch)}")])


def _decoded(body: bytes, at: str = "") -> Any:
    try:
        return _any.decode(body)
    except msgspec.ValidationError:
        raise _invalid([Fault(at, _UNREADABLE)]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error, at) from None


def _refuse(values: list[Any], batch: bool) -> None:
    _check_count(values)
    faults = (f for n, value in enumerate(values) for f in _faults(value, f"/{n}" if batch else ""))
    if first := list(islice(faults, _MAX_FAULTS)):
        raise _invalid(first)


def _faults(value: Any, at: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault(at, f"must be a JSON object such as {_EXAMPLE}")
        return
    for name in (name for name in value if name not in _RULES):
        hint = near_miss(name, list(_RULES), 0.6)
        what = f"did you mean {hint}?" if hint else f"a message has {', '.join(_RULES)}"
        yield Fault(f"{at}/{_escape(name[:_MAX_NAME])}", f"is not a field of a message: {what}")
    for name in _RULES:
        if name in value and (wrong := check(name, value[name])):
            yield Fault(f"{at}/{name}", wrong)
    if "room" not in value:
        yield Fault(f"{at}/room", "is missing")
    if "text" not in value and "data" not in value:
        yield Fault(f"{at}/text", _NEITHER)


def _escape(name: str) -> str:
    """RFC 6901, section 3."""
    return name.replace("~", "~0").replace("/", "~1")


def _invalid(faults: Sequence[Fault]) -> Invalid:
    first = faults[0]
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return Invalid(f"{first.pointer or 'the body'} {first.detail}{more}", faults)


def _malformed(error: Exception, at: str = "") -> Malformed:
    what = {
        RecursionError: "it is nested too deeply",
        UnicodeDecodeError: "it is not UTF-8",
    }.get(type(error), str(error))
    return Malformed(f"the body is not JSON that can be read: {what}", [Fault(at, what)])
