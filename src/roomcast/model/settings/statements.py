"""Finds the line of an option in a TOML file, since tomllib gives values without their lines.

The file was parsed before, so it is valid. This module only needs to know where a statement ends
(https://toml.io/en/v1.0.0): it knows the four kinds of strings, comments, and brackets, inside which a value may
span several lines.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # up to two quotes may stand before the three that end it
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|#[^\n]*"
    r"|[\n\[\]{}]"
    r"|[^\"'#\n\[\]{}]+",
    re.DOTALL,
)
_DEEPER = {"[": 1, "{": 1, "]": -1, "}": -1}


def line_of(name: str, text: str) -> int:
    """Returns the line, counted from 1, of the first statement that sets `name` at the top level. `text` is a
    valid file; raises `ValueError` if it does not set the name."""
    in_section = False
    for line, statement in _statements(text):
        is_header = statement.startswith("[")
        if (is_header or not in_section) and name in tomllib.loads(statement):
            return line
        in_section |= is_header
    raise ValueError(f"{name!r} is not in the text")


def line_in_row(section: str, index: int, name: str | None, text: str) -> int:
    """Returns the line, counted from 1, that sets the column `name` in row `index`, counted from 0, of
    `[[section]]`. Without a name, or if the rows are one inline list, it is the line of the row or the list.
    `text` is a valid file."""
    row, begun = -1, 0
    for line, statement in _statements(text):
        given = tomllib.loads(statement)
        if statement.startswith("["):
            row += statement.startswith("[[") and isinstance(given.get(section), list)
            inside = row == index and section in given
            begun = begun or (line if inside else 0)
            # `[key.name]` sets the column `name` of the last row.
            if inside and name is not None and name in _last(given[section]):
                return line
        elif begun and inside and name in given:
            return line
    return begun or line_of(section, text)


def _last(given: Any) -> Any:
    return given[-1] if isinstance(given, list) else given


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each `key = value`, `[header]` and line with only a comment, and the line that it begins on."""
    statement, depth, line, begun = "", 0, 1, 1
    for token in _TOKEN.findall(text.replace("\r\n", "\n") + "\n"):
        if token == "\n" and depth == 0:
            if statement:
                yield begun, statement
            statement = ""
        elif statement or token.strip():
            begun = begun if statement else line
            statement += token if statement else token.lstrip()
            depth += _DEEPER.get(token, 0)
        line += token.count("\n")
