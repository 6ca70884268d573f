"""A request's body that is a JSON object with known fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from roomcast.api.publish import checked_encoding, media_type_of
from roomcast.api.request import Head
from roomcast.model.errors import Fault, UnsupportedMediaType
from roomcast.model.near_miss import MAX_NAME, near_miss
from roomcast.model.refusal import escaped, invalid, malformed

Readers = Mapping[str, Callable[[object], Any]]
"""A function for each field name that checks and converts the sent value. It raises `ValueError`; the text
continues a sentence that begins with the name."""


def check_type(head: Head, example: str) -> None:
    """Raises `UnsupportedMediaType` unless `head` declares the body as JSON without a content encoding. `example`
    is a valid body, for the error's text."""
    if media_type_of(head) != "application/json":
        raise UnsupportedMediaType(f"send the header Content-Type: application/json and a body such as {example}")
    checked_encoding(head)


def read(body: bytes, readers: Readers, example: str) -> dict[str, Any]:
    """The converted values of the fields in `body`, by name; missing fields are left out. `readers` has a function
    for each field that may be sent, and `example` is a valid body, for the error's text. Raises `Malformed` if the
    body is not JSON, and `Invalid`, naming each field that is unknown or invalid."""
    given = _object(body, example)
    faults = [_unknown(name, readers) for name in given if name not in readers]
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in readers:
            try:
                values[name] = readers[name](value)
            except ValueError as error:
                faults.append(Fault(f"/{name}", str(error)))
    if faults:
        raise invalid(faults)
    return values


def _object(body: bytes, example: str) -> Mapping[str, Any]:
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, body) from None
    if not isinstance(given, dict):
        raise invalid([Fault("", f"must be a JSON object such as {example}")])
    return given


def _unknown(name: str, readers: Readers) -> Fault:
    meant = near_miss(name, list(readers), 0.6)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(readers)}"
    return Fault(f"/{escaped(name[:MAX_NAME])}", f"is not known: {hint}")
