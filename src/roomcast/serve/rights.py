"""The rights of a server that can read them again."""

from __future__ import annotations

from collections.abc import Callable

from roomcast.auth.rights import Rights
from roomcast.model.settings import Settings
from roomcast.serve.reload import Commit, Reloadable

_OPTIONS = ("keys", "anonymous", "secret_files")


def reloadable(take: Callable[[Rights], None]) -> Reloadable:
    """Gives `take`, on the loop, the rights of each new configuration. A mistake in any part of them keeps those
    that there are."""

    def prepare(settings: Settings) -> Commit:
        rights = Rights.of(settings)
        return lambda: take(rights)

    return Reloadable("rights", _OPTIONS, prepare)
