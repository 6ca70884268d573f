"""Lines that are messages already, as JSON objects. What they say is sent to the letter: a number that Python
cannot hold, or a key that is given twice, must not change on its way."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Raw

from roomcast.cli.lines import MAX_LINE, BadLine, Read

_any = msgspec.json.Decoder()
_fields = msgspec.json.Decoder(dict[str, Raw])


def parsed(number: int, line: Read) -> dict[str, Any]:
    """The fields of the object that a line is, each as it is written. Raises `BadLine`."""
    if line.size > len(line.content):
        raise BadLine(f"line {number} has more than {MAX_LINE:,} bytes")
    try:
        check(line.content)
        return _fields.decode(line.content)
    except msgspec.ValidationError:
        raise BadLine(f"line {number} is no JSON object") from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"line {number} is not JSON: {error}") from None


def raw(text: str) -> Raw:
    """A JSON value, as it is written. Raises `ValueError`, `RecursionError`."""
    encoded = text.encode()
    check(encoded)
    return Raw(encoded)


def check(text: bytes) -> None:
    """Raises `ValueError` or `RecursionError` where this is not JSON. `Raw` is only skipped over: UTF-8 and lone
    surrogates are not looked at."""
    try:
        _any.decode(text)
    except msgspec.ValidationError:  # a number beyond a double's range: the server says which
        text.decode()
    except msgspec.DecodeError as error:
        raise ValueError(_why(text) or str(error)) from None


def _why(text: bytes) -> str:
    """What is wrong, and where, in Python's words: msgspec calls half a surrogate pair "truncated"."""
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return str(error)
    return "half of a surrogate pair stands alone in it"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
