"""The result of a check: a line, and for a fault the line of configuration that mends it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    """The severity of a finding."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, and nothing to mend."""
    MEND = "mend"


class Finding(NamedTuple):
    """The outcome of a check."""

    name: str
    """The check's name, in one or two words."""
    level: Level
    text: str
    mend: str = ""
    """What to configure; empty if nothing is wrong."""


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name, Level.OK, text)


def note(name: str, text: str) -> Finding:
    """Nothing is wrong, but it is worth knowing."""
    return Finding(name, Level.NOTE, text)


def mend(name: str, text: str, by: str) -> Finding:
    """Something is wrong, and `by` is what mends it."""
    return Finding(name, Level.MEND, text, by)
