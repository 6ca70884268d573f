"""Refusals: errors that name everything that is wrong with a message at once.

`refused` reads only messages that the typed decode in `publication` has refused, each up to its 100th mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import msgspec
from msgspec import Raw

from roomcast.model.errors import Fault, Invalid, Malformed
from roomcast.model.fields import NAMES, STRINGS, check
from roomcast.model.json_text import LONGEST_INTEGER, ending, unreadable_number
from roomcast.model.near_miss import MAX_NAME, near_miss

MAX_FAULTS = 100
"""A body may be wrong in 100,000 places. Naming them all would block the loop for seconds."""
NEITHER = "is missing: a message has text, data, or both"
UNREADABLE = (
    "has a number that others cannot read: beyond a double's range, or an integer of more than "
    f"{LONGEST_INTEGER:,} digits"
)

_EXAMPLE = '{"text": "was geht ab in buxtehude?", "room": "developers"}'
_TRUNCATED = "Input data was truncated"
"""msgspec's message for a text that ends too early."""

_fields = msgspec.json.Decoder(dict[str, Raw])
_raw = msgspec.json.Decoder(Raw)
_any = msgspec.json.Decoder()


def refused(message: bytes, pointer: str) -> Invalid | Malformed:
    """Returns the error for a message that the typed decode refused, with all its mistakes. `pointer` is the JSON
    pointer to the message."""
    try:
        _raw.decode(message)  # the typed decode stopped at the first mistake; the rest may not be JSON
        fields = _fields.decode(message)
    except msgspec.ValidationError:
        return invalid([Fault(pointer, f"must be a JSON object such as {_EXAMPLE}")])
    except msgspec.DecodeError as error:
        return malformed(error, message, pointer)
    return invalid(list(islice(_faults(fields, pointer), MAX_FAULTS)))


def _faults(fields: Mapping[str, Raw], pointer: str) -> Iterator[Fault]:
    yield from _unknown(fields, pointer)
    for name in STRINGS:
        if name in fields and (wrong := check(name, _value(fields[name]))):
            yield Fault(f"{pointer}/{name}", wrong)
    if "room" not in fields:
        yield Fault(f"{pointer}/room", "is missing")
    if "data" in fields and unreadable_number(bytes(fields["data"])):
        yield Fault(f"{pointer}/data", UNREADABLE)
    if "text" not in fields and "data" not in fields:
        yield Fault(f"{pointer}/text", NEITHER)


def invalid(faults: Sequence[Fault]) -> Invalid:
    """Returns an error with these faults. Its detail names the first one."""
    first = faults[0]
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return Invalid(f"{first.pointer or 'the body'} {first.detail}{more}", faults)


def malformed(error: Exception, text: bytes, pointer: str = "") -> Malformed:
    """Returns the error for `text` that could not be decoded, at the JSON `pointer`."""
    return unreadable(_said(error, text), pointer)


def unreadable(what: str, pointer: str = "") -> Malformed:
    """Returns the error for a body, or its part at the JSON `pointer`, that cannot be read. `what` says why."""
    place = f"the body at {pointer}" if pointer else "the body"
    return Malformed(f"{place} is not JSON that can be read: {what}", [Fault(pointer, what)])


def _said(error: Exception, text: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        if error.end == len(text) and error.reason == "unexpected end of data":
            return f"it ends after {len(text)} bytes, in the middle of a character"
        return f"it is not UTF-8 at byte {error.start}"
    return ending(text) if str(error) == _TRUNCATED else str(error)


def _unknown(fields: Mapping[str, Raw], pointer: str) -> Iterator[Fault]:
    for name in (name for name in fields if name not in NAMES):
        hint = near_miss(name, NAMES, 0.6)
        what = f"did you mean {hint}?" if hint else f"a message has {', '.join(NAMES)}"
        yield Fault(f"{pointer}/{escaped(name[:MAX_NAME])}", f"is not a field of a message: {what}")


def _value(field: Raw) -> object:
    """The field's value if it is a string. Any other value is refused, so it is not decoded."""
    return _any.decode(field) if bytes(field).startswith(b'"') else None


def escaped(name: str) -> str:
    """Returns a name as it is written in a JSON pointer (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")
