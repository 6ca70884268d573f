"""Room rules that follow the configuration at each reload."""

from __future__ import annotations

from collections.abc import Callable

from roomcast.log.base import Log
from roomcast.model.settings import Settings
from roomcast.serve.reload import Change, Reloadable

OPTIONS = ("room_rules", "max_age")
NAME = "the room rules"


def reloadable_rules(log: Log, then: Callable[[], None] = lambda: None) -> Reloadable:
    """Makes a log follow the `[[room]]` rows and `max_age` of the configuration. Calls `then` after each
    change."""

    def prepare(settings: Settings) -> Change:
        apply = log.prepare_rules(settings.retention)

        def change() -> None:
            apply()
            then()

        return change

    return Reloadable(NAME, OPTIONS, prepare)
