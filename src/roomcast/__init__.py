"""roomcast: a server for server-sent events. `roomcast.app(...)` is the server as an ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roomcast.version import __version__

if TYPE_CHECKING:
    from roomcast.embed import Embedded


def app(log: str = "sqlite:roomcast.db", **options: Any) -> Embedded:
    """The server as an ASGI application, to run or to mount in another one.

    `options` are those of `roomcast serve` by their names with underscores, such as `max_messages=1000`.
    Raises `TypeError` on one that is not known."""
    from roomcast.embed import Embedded  # late: `roomcast --help` needs none of it
    from roomcast.model.settings import Settings

    return Embedded(Settings(log=log, **options))


__all__ = ["__version__", "app"]
