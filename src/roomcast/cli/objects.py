"""Lines that are JSON objects, read as messages. The text of each field is sent unchanged: a number that Python
cannot represent, or a name that `data` has twice, stays as it is."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Raw

from roomcast.cli.lines import MAX_LINE, BadLine, InputLine

_any = msgspec.json.Decoder()
_fields = msgspec.json.Decoder(dict[str, Raw])


def parsed(number: int, line: InputLine) -> dict[str, Any]:
    """Returns the fields of the object in `line`, each as the JSON text that was written. Raises `BadLine`, which
    names the line by its `number`, from 1."""
    if line.size > len(line.content):
        raise BadLine(f"line {number} has more than {MAX_LINE:,} bytes: split it")
    try:
        check(line.content)
        return _fields.decode(line.content)
    except msgspec.ValidationError:
        raise BadLine(f'line {number} is no JSON object: write it as {{"text": "…"}}') from None
    except (ValueError, RecursionError) as error:
        raise BadLine(f"line {number} is not JSON: {error}") from None


def raw(text: str) -> Raw:
    """Returns the JSON value in `text` as it is written. Raises `ValueError` or `RecursionError` if it is not
    JSON."""
    encoded = text.encode()
    check(encoded)
    return Raw(encoded)


def check(text: bytes) -> None:
    """Raises `ValueError` or `RecursionError` if the text is not JSON. msgspec alone would not check UTF-8 and
    lone surrogates within a `Raw`."""
    try:
        _any.decode(text)
    except msgspec.ValidationError:  # a number beyond the range of a double: the server reports it
        text.decode()
    except msgspec.DecodeError as error:
        raise ValueError(_why(text) or str(error)) from None


def _why(text: bytes) -> str:
    """The error and its place in the words of Python's json; msgspec calls half a surrogate pair "truncated"."""
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return str(error)
    return "it has half of a surrogate pair"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
