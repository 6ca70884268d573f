"""Rights that follow the configuration at each reload."""

from __future__ import annotations

import logging

from roomcast.auth.from_settings import rights_from
from roomcast.auth.guard import Guard, Mode
from roomcast.model.errors import BadOption
from roomcast.model.settings import Settings
from roomcast.serve.reload import Change, Reloadable

audit = logging.getLogger("roomcast.audit")

_OPTIONS = ("keys", "issuers", "anonymous", "secret_files", "cookie", "revoked")


def reloadable_rights(guard: Guard, *, fetches: bool = True) -> Reloadable:
    """Gives the `guard` the rights of each new configuration. If any part of them is wrong, the old rights stay:
    preparing then raises `CannotStart`, such as `BadOption`. Without `fetches` no keys are fetched: the supervisor
    has no loop, and only checks the rights."""

    def prepare(settings: Settings) -> Change:
        rights = rights_from(settings)
        if guard.mode is Mode.LOCAL and rights.configured:
            raise BadOption("a server that was started without rights needs a restart to have them")

        def change() -> None:
            (guard.replace if fetches else guard.enforce)(rights)
            if fetches:
                audit.info("the rights were read again: all streams are checked by them")

        return change

    return Reloadable("rights", _OPTIONS, prepare)
