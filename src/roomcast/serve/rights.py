"""The rights of a server that can read them again."""

from __future__ import annotations

from roomcast.auth.guard import Guard, Mode
from roomcast.auth.rights import Rights
from roomcast.model.errors import BadOption
from roomcast.model.settings import Settings
from roomcast.serve.reload import Commit, Reloadable

_OPTIONS = ("keys", "anonymous", "secret_files", "cookie")


def reloadable(guard: Guard) -> Reloadable:
    """Gives the guard, on the loop, the rights of each new configuration. A mistake in any part of them keeps
    those that there are."""

    def prepare(settings: Settings) -> Commit:
        rights = Rights.of(settings)
        if guard.mode is Mode.LOCAL and rights.configured:
            raise BadOption("a server that was started without rights needs a restart to have them")
        return lambda: guard.take(rights)

    return Reloadable("rights", _OPTIONS, prepare)
