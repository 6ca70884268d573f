"""Parses a token's text, strictly: an attacker can exploit two programs that read one token differently."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from roomcast.auth import base64url
from roomcast.auth.tokens.bad import BadToken

MAX_HEADER = 2048
"""Bytes of a header's text: it may hold an `x5c`, which is ignored, or a long `jku`."""


class Parts(NamedTuple):
    """The parts of a token; nothing of them is verified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    """The bytes that the signature covers."""
    signature: bytes


def parts_of(text: str) -> Parts:
    """The parts of the token `text`. Raises `BadToken` if it does not have the form of a JWT."""
    segments = text.split(".")
    if len(segments) != 3:
        raise BadToken("it does not have three parts")
    header, claims, signature = segments
    if len(header) > MAX_HEADER:
        raise BadToken(f"its header is longer than {MAX_HEADER} bytes")
    signed = text[: len(header) + 1 + len(claims)].encode("ascii", "replace")
    return Parts(_object("header", header), _object("claims", claims), signed, _bytes("signature", signature))


def read_json(data: bytes) -> Any:
    """The JSON value in `data`, which is UTF-8. Raises `ValueError` if it is invalid, an object has a name twice,
    or a string has half of a surrogate pair."""
    try:
        found = _DECODER.decode(data.decode())
        if b"\\ud" in data.lower():  # half of a surrogate pair cannot be encoded
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return found


def _object(name: str, segment: str) -> Mapping[str, Any]:
    data = _bytes(name, segment)
    try:
        found = read_json(data)
    except ValueError as error:
        twice = isinstance(error, _Twice)
        raise BadToken(f"its {name} {'has a name twice' if twice else 'is not JSON'}") from None
    if not isinstance(found, dict):
        raise BadToken(f"its {name} is not a JSON object")
    return found


def _bytes(name: str, segment: str) -> bytes:
    try:
        return base64url.decode(segment)
    except ValueError:
        raise BadToken(f"its {name} is not base64url") from None


class _Twice(ValueError):
    """An object has a name twice. Programs differ in which of the two values they take."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)
