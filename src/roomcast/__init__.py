"""roomcast: a server for server-sent events. `roomcast.app(...)` is the server as an ASGI application."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec

from roomcast.app_settings import AppSettings
from roomcast.auth.host import Rights
from roomcast.model.errors import Forbidden, Unauthenticated
from roomcast.model.settings.issuer import Issuer
from roomcast.model.settings.key import Key
from roomcast.version import __version__

if TYPE_CHECKING:
    from roomcast.embed import Embedded

_Options = ParamSpec("_Options")


def _with_options_of(
    settings: Callable[_Options, object],
) -> Callable[[Callable[..., Embedded]], Callable[_Options, Embedded]]:
    """Gives a function the keywords of `settings`, for type checkers and `help()`: no option is listed twice."""

    def typed(function: Callable[..., Embedded]) -> Callable[_Options, Embedded]:
        signature = inspect.signature(settings).replace(return_annotation="Embedded")
        setattr(function, "__signature__", signature)  # noqa: B010 - mypy knows no such attribute
        return function

    return typed


@_with_options_of(AppSettings)
def app(**options: Any) -> Embedded:
    """The server as an ASGI application, to run or to mount in another one.

    The options are those of `roomcast serve` by their names with underscores, such as `max_messages=1000`; sizes
    are bytes and times are seconds. Raises `TypeError` for an unknown name, with the one that was probably meant,
    and `roomcast.model.errors.BadOption` for a value that an option cannot have, and for an option that can have
    no effect here, such as `port`: the server that runs the application decides.

    Two more options are a program's own. `rights` is an `async def` that is given the ASGI scope of a request and
    returns the `Rights` of whoever sent it, or None for a stranger, who may do what `anonymous` says. Without it,
    and without keys, secrets, issuers, `cookie` and `anonymous`, everybody may read and publish in every room.
    `routes` names the groups of routes that are served, such as `("follow",)` for followers alone."""
    from roomcast.embed import Embedded  # late: `roomcast --help` needs none of it

    return Embedded(AppSettings.of(options))


__all__ = ["Forbidden", "Issuer", "Key", "Rights", "Unauthenticated", "__version__", "app"]
