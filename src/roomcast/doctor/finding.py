"""The result of a check: a line, and for a fault the configuration that fixes it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    """The severity of a finding."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, but not a fault."""
    FAULT = "fault"


class Finding(NamedTuple):
    """The result of a check."""

    name: str
    """The check's name, in one or two words."""
    level: Level
    text: str
    """The finding, in one line."""
    fix: str = ""
    """The configuration that fixes it, and the program to configure; empty if nothing is wrong."""


def ok(name: str, text: str) -> Finding:
    """Makes a finding of the check `name` about something that works; `text` is one line."""
    return Finding(name, Level.OK, text)


def note(name: str, text: str) -> Finding:
    """Makes a finding of the check `name` that is worth knowing, but not a fault; `text` is one line."""
    return Finding(name, Level.NOTE, text)


def fault(name: str, text: str, fix: str) -> Finding:
    """Makes a finding of the check `name` about something wrong: `text` is one line, and `fix` the configuration
    that mends it."""
    return Finding(name, Level.FAULT, text, fix)
