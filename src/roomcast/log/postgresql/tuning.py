"""Times that tests shorten. They are no options for users."""

from __future__ import annotations

from typing import NamedTuple


class PostgresTuning(NamedTuple):
    """How often the database is polled, and how long a publish waits. All in seconds."""

    active_poll: float = 0.25
    """Between two polls while messages are expected."""
    idle_poll: float = 1.0
    """Between two polls otherwise."""
    deaf_poll: float = 0.1
    """Between two polls while messages are expected and no notification can arrive."""
    note_seconds: float = 0.5
    """Between two records of how far this server has delivered."""
    retry_seconds: float = 0.2
    """Between two attempts while the database is away."""
    patience: float = 10.0
    """The time after which a publish that could not be stored is refused."""
