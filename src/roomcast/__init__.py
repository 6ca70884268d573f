"""roomcast: a server for server-sent events. `roomcast.app(...)` is the server as an ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roomcast.version import __version__

if TYPE_CHECKING:
    from roomcast.server.live import Live


def app(log: str = "sqlite:roomcast.db", **options: Any) -> Live:
    """The server as an ASGI application, to run or to mount in another one.

    `options` are those of `roomcast serve` by their names with underscores, such as `max_messages=1000`.
    Raises `TypeError` on one that is not known."""
    from roomcast.server.live import Live  # late: `roomcast --help` needs none of it
    from roomcast.settings import Settings

    return Live(Settings(log=log, **options))


__all__ = ["__version__", "app"]
