"""The options of `roomcast.app`: those of a server, and two that only a host program can give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from roomcast.auth.host import RightsFunction
from roomcast.model.errors import BadOption
from roomcast.model.settings import OPTIONS, Settings, unknown_option

if TYPE_CHECKING:
    from roomcast.http.all_routes import Group

_OWN = ("rights", "routes")
_SERVER = "the server that runs the app decides"
_LOGGING = "the program's own logging decides"
_DECIDED_ELSEWHERE = {
    **dict.fromkeys(("host", "port", "page_port", "workers", "tls_cert", "tls_key"), _SERVER),
    "max_connections_per_address": _SERVER,
    **dict.fromkeys(("log_format", "log_level"), _LOGGING),
}
"""The options that can have no effect on an embedded server, and who decides instead."""


@dataclass(frozen=True, kw_only=True)
class AppSettings(Settings):
    """The options that an embedded server is run with."""

    rights: RightsFunction | None = None
    """The program's function that returns a user's rights. None: the other options decide; if they configure no
    rights, everybody may read and publish in every room."""
    routes: Sequence[Group] | None = None
    """The groups of routes that are served; None: all."""

    @classmethod
    def of(cls, values: Mapping[str, object]) -> AppSettings:
        """Like `Settings.of`, with `rights` and `routes` among `values` in addition. Raises `TypeError` for an
        unknown name, and `BadOption` for a wrong value, or one that could have no effect."""
        own: dict[str, Any] = {name: value for name, value in values.items() if name in _OWN}
        others = {name: value for name, value in values.items() if name not in _OWN}
        known = {field.name for field in fields(cls)}
        for name in others:
            if name not in known:
                raise TypeError(unknown_option(name, _OWN))
        given = Settings.of(others)
        settings = cls(**{field.name: getattr(given, field.name) for field in fields(given)}, **own)
        settings._check()
        return settings

    def _check(self) -> None:
        for name, who in _DECIDED_ELSEWHERE.items():
            if getattr(self, name) != OPTIONS[name].default:
                raise BadOption(f"{name} can have no effect in roomcast.app: {who}, so leave it out here")
        if self.rights is None:
            return
        if not callable(self.rights):
            raise BadOption(
                "rights must be an `async def` that is given the ASGI scope and returns roomcast.Rights or None"
            )
        if self.open:
            raise BadOption("open=True lets everybody in, and rights= does not: leave one of them out")
