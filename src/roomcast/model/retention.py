"""How much a log keeps."""

from __future__ import annotations

from typing import NamedTuple


class Retention(NamedTuple):
    """One cap for the log; the oldest messages beyond either go."""

    max_messages: int = 10_000
    max_bytes: int = 5_000_000
    """The sum of the stored bodies."""
