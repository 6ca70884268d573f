"""The rules of rooms, and how new ones take their place."""

from __future__ import annotations

from roomcast.log.base import Log
from roomcast.serve.reload import Reloadable


def rules_of(log: Log) -> Reloadable:
    """What makes a log follow the `[[room]]` rows and `max_age` of the configuration."""
    return Reloadable("the room rules", ("room_rules", "max_age"), lambda settings: log.keep(settings.retention))
