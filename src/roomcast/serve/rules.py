"""The rules of rooms, and how new ones take their place."""

from __future__ import annotations

from collections.abc import Callable

from roomcast.log.base import Log
from roomcast.model.settings import Settings
from roomcast.serve.reload import Commit, Reloadable

OPTIONS = ("room_rules", "max_age")
NAME = "the room rules"


def rules_of(log: Log, then: Callable[[], None] = lambda: None) -> Reloadable:
    """Makes a log follow the `[[room]]` rows and `max_age` of the configuration; `then` is called after each
    change."""

    def prepare(settings: Settings) -> Commit:
        apply = log.prepare_rules(settings.retention)

        def commit() -> None:
            apply()
            then()

        return commit

    return Reloadable(NAME, OPTIONS, prepare)
