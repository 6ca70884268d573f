"""The configuration file of `--config`: TOML with options at the top level, and sections as `[[name]]`."""

from __future__ import annotations

import os
import re
import tomllib
from typing import Any

from roomcast.model.errors import BadOption, CannotStart
from roomcast.model.regular_file import read_regular
from roomcast.model.settings import OPTIONS, SECTIONS, unknown_option
from roomcast.model.settings.option import Option
from roomcast.model.settings.section import BadRow
from roomcast.model.settings.statements import line_in_row, line_of

_MAX_BYTES = 16 * 1024 * 1024
"""Far more than anybody writes."""
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_HINTS = {
    "Invalid value": 'text stands in quotes, and so do sizes and times with a unit, such as "5MB"',
    "Expected newline": 'text stands in quotes, and so do sizes and times with a unit, such as "5MB"',
    "Cannot overwrite": "the same name stands in it twice",
}
"""Advice for the most common mistakes, by the beginning of tomllib's message."""


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the file at `path`. Returns checked values by name, as `Settings` and `roomcast.app` take them.

    Blocks. Raises `BadOption`, with the line if there is one, if the file cannot be read, is not TOML, or has an
    unknown option or a bad value."""
    shown = os.fspath(path)
    text = read(shown)
    return dict(_field(shown, text, name, given) for name, given in _parsed(shown, text).items())


def read(path: str) -> str:
    """Returns the text of the file at `path`. Blocks. Raises `BadOption` if it cannot be read or is not UTF-8."""
    try:
        data = read_regular(path, f"--config {path}", _MAX_BYTES)
    except CannotStart as error:
        raise BadOption(error.detail) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad(path, data[: error.start].count(b"\n") + 1, "this is not UTF-8") from None


def _parsed(path: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise BadOption(f"{path} is nested too deeply") from None
    except ValueError as error:
        message, place = str(error), _PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else text.rstrip().count("\n") + 1
        what = message[: place.start()] if place else message
        hint = next((f": {hint}" for beginning, hint in _HINTS.items() if what.startswith(beginning)), "")
        raise _bad(path, line, f"this is not TOML ({what:.100}){hint}") from None


def _field(path: str, text: str, name: str, given: object) -> tuple[str, Any]:
    """Returns the name of a field of the settings, and its value."""
    try:
        if section := SECTIONS.get(name):
            return section.field, section.from_value(given)
        return name, _option(name, given).from_value(given)
    except BadRow as error:
        raise _bad(path, line_in_row(name, error.index, error.name, text), error.detail) from None
    except BadOption as error:
        raise _bad(path, line_of(name, text), error.detail) from None


def _option(name: str, given: object) -> Option:
    """Raises `BadOption` if the file cannot give this option."""
    if (option := OPTIONS.get(name)) is None:
        section = "; options stand at the top of the file, in no section" if isinstance(given, dict) else ""
        raise BadOption(unknown_option(name) + section)
    if option.private:
        raise BadOption(f"{name} cannot be set in the file: set {option.variable}, or name a file in {name}_files")
    return option


def _bad(path: str, line: int, what: str) -> BadOption:
    return BadOption(f"{path}, line {line}: {what}", line)
