"""Where in a TOML file something stands: Python's reader gives values without their lines.

The file was read before, so it is valid. This module knows only as much of TOML's grammar
(https://toml.io/en/v1.0.0) as tells where a statement ends: strings of four kinds, comments, and brackets, within
which a value goes on over several lines.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

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


def line_of(name: str, text: str, number: int = 1) -> int:
    """The line, counted from 1, of the first statement that gives `name` at the top level of a valid file. Of
    several tables of that name it is the header of the one with this number."""
    in_section = False
    lines = []
    for line, statement in _statements(text):
        is_header = statement.startswith("[")
        if (is_header or not in_section) and name in tomllib.loads(statement):
            lines.append(line)
            if len(lines) == number:
                return line
        in_section |= is_header
    if lines:  # a list of tables in one statement
        return lines[0]
    raise ValueError(f"{name!r} is not in the text")


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each `key = value`, `[header]` and line with only a comment, and the line that it begins on."""
    held, depth, line, begun = "", 0, 1, 1
    for token in _TOKEN.findall(text.replace("\r\n", "\n") + "\n"):
        if token == "\n" and depth == 0:
            if held:
                yield begun, held
            held = ""
        elif held or token.strip():
            begun = begun if held else line
            held += token if held else token.lstrip()
            depth += _DEEPER.get(token, 0)
        line += token.count("\n")
