"""A query string's names and values (WHATWG URL, section 5.1), in time linear in its bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from roomcast.model.errors import Fault, Invalid
from roomcast.model.near_miss import near_miss

T = TypeVar("T")

MAX_PARAMETERS = 128
"""64 rooms, and as many parameters that proxies, polyfills and trackers add."""
_NAMES = ("room", "prefix")
_COMPARED = 32
"""Maximum number of unknown names that are compared with the known ones: each takes 65 µs."""

_NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parameters(query_string: bytes) -> Sequence[tuple[str, str]]:
    """The names and values in `query_string`, in their order. In a `room` or `prefix`, bytes that are not UTF-8
    become surrogates (PEP 383), to be refused later; anywhere else they are replaced. Raises `Invalid` for more
    than MAX_PARAMETERS."""
    if query_string.count(b"&") >= MAX_PARAMETERS:
        raise Invalid(f"the query has more than {MAX_PARAMETERS} parameters")
    return [_pair(part) for part in query_string.split(b"&") if part]


class QueryParameters:
    """The parameters of one request, read one by one. Their mistakes are collected in `faults`."""

    def __init__(
        self, parameters: Sequence[tuple[str, str]], known: Sequence[str], also_known: Sequence[str] = ()
    ) -> None:
        """`parameters` are names and values in the order of the query, and `known` are the accepted names.
        `also_known` are further ones, in lower case, that are never suggested."""
        self.values: dict[str, list[str]] = {}
        for name, value in parameters:
            self.values.setdefault(name, []).append(value)
        self.faults = self._near_misses(known, also_known)

    def once(self, name: str, read: Callable[[str], T]) -> T | None:
        """The value of the parameter `name`, converted by `read`; None if it is missing or wrong. `read` raises
        `ValueError` for a wrong value; the text continues a sentence that begins with the name."""
        values = self.values.get(name, [])
        if len(values) > 1:
            self.faults.append(Fault(f"/{name}", "is given more than once"))
        try:
            return read(values[0]) if values else None
        except ValueError as error:
            self.faults.append(Fault(f"/{name}", str(error)))
            return None

    def check(self) -> None:
        """Raises `Invalid` if any parameter was wrong."""
        if self.faults:
            raise Invalid(f"{self.faults[0].pointer[1:]} {self.faults[0].detail}", self.faults)

    def _near_misses(self, known: Sequence[str], also_known: Sequence[str]) -> list[Fault]:
        """The misspelled names. Ignoring them would lose what the client meant; other unknown names, such as a
        cache-buster, are ignored."""
        unknown = [name for name in self.values if name not in known and name.lower() not in also_known]
        hints = {name: near_miss(name, known) for name in unknown[:_COMPARED]}
        return [Fault(f"/{n}", f"is not known: did you mean {hint}?") for n, hint in hints.items() if hint]


def whole_number(maximum: int) -> Callable[[str], int]:
    """Returns a function that reads a number from 1 to `maximum`, and raises `ValueError` for any other text."""

    def read(value: str) -> int:
        if not (value.isascii() and value.isdigit()) or len(value) > 9 or not 1 <= int(value) <= maximum:
            raise ValueError(f"must be a number from 1 to {maximum}")
        return int(value)

    return read


def _pair(part: bytes) -> tuple[str, str]:
    name, _, value = part.partition(b"=")
    plain = unquoted(name).decode(errors="replace")
    return plain, unquoted(value).decode(errors="surrogateescape" if plain in _NAMES else "replace")


def unquoted(text: bytes) -> bytes:
    """The percent-decoded `text`, with a space for each `+`. A `%` without two hexadecimal digits stays.

    urllib's function takes 3.5 ms for 64 KB, as it makes an object of each escape. Python's own escapes, such as
    `\\x41`, are decoded in C, so the text is rewritten into those.
    """
    text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    try:
        return _unescaped(text)
    except UnicodeDecodeError:
        return _unescaped(_NO_ESCAPE.sub(b"%25", text))


def _unescaped(text: bytes) -> bytes:
    escaped = text.replace(b"\\", b"\\\\").replace(b"%", b"\\x")
    return escaped.decode("unicode_escape").encode("latin-1")
