"""What a check has found: a line, and where something is wrong, the line of configuration that mends it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    """How it stands with one thing."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, and nothing to mend."""
    MEND = "mend"


class Finding(NamedTuple):
    """The outcome of a check."""

    name: str
    """Of the check, in one or two words."""
    level: Level
    text: str
    mend: str = ""
    """What to write where; empty where there is nothing to be done."""


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name, Level.OK, text)


def note(name: str, text: str) -> Finding:
    """Nothing is wrong, but it is worth knowing."""
    return Finding(name, Level.NOTE, text)


def mend(name: str, text: str, by: str) -> Finding:
    """Something is wrong, and `by` is what mends it."""
    return Finding(name, Level.MEND, text, by)
